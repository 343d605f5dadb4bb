/* What a file system answers, a line each: run in a directory of one file system and of another, and compare. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int line;
#define T(expression) (errno = 0, report(#expression, (long)(expression)))

static long report(const char *what, long result) {
  printf("%03d %s = %ld %s\n", ++line, what, result, result < 0 ? strerrorname_np(errno) : "");
  return result;
}

static void show(const char *path) {
  struct stat s;
  if (lstat(path, &s) < 0) {
    printf("%03d stat %s: %s\n", ++line, path, strerrorname_np(errno));
    return;
  }
  printf("%03d stat %s: mode %o links %ld owner %d:%d size %ld device %d:%d\n", ++line, path, s.st_mode, S_ISDIR(s.st_mode) ? 0L : (long)s.st_nlink, s.st_uid,
         s.st_gid, S_ISDIR(s.st_mode) ? 0L : (long)s.st_size, S_ISCHR(s.st_mode) ? major(s.st_rdev) : 0, S_ISCHR(s.st_mode) ? minor(s.st_rdev) : 0);
}

static void text(const char *path, const char *content) {
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (write(fd, content, strlen(content)) < 0) puts("cannot write");
  close(fd);
}

static unsigned long sum(const char *path) {
  static unsigned char buffer[65536];
  unsigned long h = 5381;
  int fd = open(path, O_RDONLY);
  for (long n; (n = read(fd, buffer, sizeof buffer)) > 0;)
    for (long i = 0; i < n; i++) h = h * 33 + buffer[i];
  close(fd);
  return h & 0xffffff;
}

static int names(const char *path) {
  DIR *dir = opendir(path);
  if (!dir) return -1;
  int count = 0;
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

static int renameat_flags(const char *from, const char *to, unsigned flags) { return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags); }

static void as_user(void (*work)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    if (setgid(1000) || setuid(1000)) _exit(9);
    work();
    fflush(stdout);
    _exit(line);
  }
  int status;
  waitpid(child, &status, 0);
  line = WEXITSTATUS(status);
}

static void user_work(void) {
  T(open("secret", O_RDONLY));
  T(mkdir("closed/x", 0755));
  T(unlink("sticky/owned"));
  T(chmod("plain", 0777));
  T(chown("plain", 1000, 1000));
  T(open("mine/new", O_CREAT | O_WRONLY, 0666));
  show("mine/new");
  int fd = open("suid", O_WRONLY | O_APPEND);
  T(write(fd, "x", 1));
  show("suid");
  T(truncate("suid2", 3));
  show("suid2");
  T(rename("sticky/owned", "sticky/other"));
  T(link("secret", "mine/linked"));
  T(utimensat(AT_FDCWD, "plain", 0, 0));
}

static void kinds(void) {
  T(mkdir("dir", 0755)); T(mkdir("dir", 0755)); T(mkdir("none/dir", 0755)); T(rmdir("dir")); T(rmdir("dir"));
  T(mknod("fifo", S_IFIFO | 0600, 0)); show("fifo");
  T(mknod("char", S_IFCHR | 0600, makedev(1, 3))); show("char");
  T(mknod("bigdev", S_IFCHR | 0600, makedev(300, 70000))); show("bigdev");
  T(open("char", O_RDONLY));
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
  T(bind(s, (void *)&a, sizeof a)); show("socket"); T(bind(s, (void *)&a, sizeof a));
  T(symlink("target", "symlink")); T(symlink("", "empty")); show("symlink");
  char buffer[100] = "";
  T(readlink("symlink", buffer, 3)); T(readlink("fifo", buffer, 3));
  T(open("symlink", O_RDONLY)); T(open("symlink", O_CREAT | O_WRONLY, 0600)); show("target");
  T(symlink("loop", "loop")); T(open("loop", O_RDONLY));
  char name[300];
  memset(name, 'n', sizeof name); name[255] = 0; T(open(name, O_CREAT | O_WRONLY, 0600) > 0); name[255] = 'n'; name[256] = 0; T(open(name, O_CREAT, 0600));
  T(open("\xff\xfe not utf-8 \xc3", O_CREAT | O_WRONLY, 0600) > 0); show("\xff\xfe not utf-8 \xc3");
  T(unlink("none")); T(mkdir("d", 0755)); T(unlink("d")); T(rmdir("fifo")); T(open("d", O_WRONLY)); T(open("fifo/x", O_RDONLY));
  T(open("symlink", O_RDONLY | O_NOFOLLOW)); T(open("x", O_CREAT | O_EXCL | O_WRONLY, 0644) > 0); T(open("x", O_CREAT | O_EXCL | O_WRONLY, 0644));
}

static void links(void) {
  text("a", "content"); T(link("a", "b")); show("a"); T(link("a", "b")); T(link("d", "e")); T(link("none", "e")); T(unlink("a")); show("b");
  T(linkat(AT_FDCWD, "symlink", AT_FDCWD, "linked-symlink", 0)); show("linked-symlink");
  int fd = open("b", O_RDWR); T(unlink("b")); struct stat s; fstat(fd, &s); T(s.st_nlink); T(write(fd, "still", 5)); T(pread(fd, (char[9]){0}, 9, 0)); close(fd);
  fd = open(".", O_TMPFILE | O_RDWR, 0640); T(fd > 0); T(write(fd, "temporary", 9)); char path[64]; sprintf(path, "/proc/self/fd/%d", fd);
  T(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW)); show("named"); close(fd); T(sum("named"));
  fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640); sprintf(path, "/proc/self/fd/%d", fd); T(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW)); close(fd);
}

static void renames(void) {
  text("r1", "one"); text("r2", "two two"); T(rename("r1", "r2")); show("r2"); show("r1"); T(rename("r1", "r2"));
  T(mkdir("rd1", 0755)); T(mkdir("rd2", 0755)); T(mkdir("rd1/sub", 0755)); T(rename("rd2", "rd1")); T(rename("rd1", "rd2")); T(rename("rd2", "rd2/sub/x")); show("rd2/sub");
  T(rename("r2", "rd2")); T(rename("rd2", "r2")); T(rename("rd2/sub", "rd2/..")); T(rename("rd2/.", "x"));
  text("e1", "first"); T(renameat_flags("e1", "r2", RENAME_NOREPLACE)); T(renameat_flags("e1", "rd2", RENAME_EXCHANGE)); show("e1"); show("rd2");
  T(renameat_flags("rd2", "none", RENAME_EXCHANGE)); T(renameat_flags("rd2", "white", RENAME_WHITEOUT)); show("rd2"); T(renameat_flags("white", "x2", 8));
  T(link("white", "white2")); T(rename("white", "white2")); show("white"); show("white2");
  int fd = open("e1", O_DIRECTORY | O_RDONLY); T(renameat_flags("e1", "moved", 0)); T(openat(fd, "sub", O_DIRECTORY | O_RDONLY) > 0); T(rmdir("moved/sub")); T(rmdir("moved")); T(mkdirat(fd, "late", 0755)); close(fd);
}

static void attributes(void) {
  text("plain", "x"); T(chmod("plain", 04755)); show("plain"); T(chown("plain", 7, -1)); show("plain"); T(chmod("plain", 02745)); T(chown("plain", -1, 8)); show("plain");
  T(chmod("plain", 06755)); text("plain", "truncated by root"); show("plain"); T(chown("plain", 0, 0)); T(chmod("plain", 0644));
  T(mkdir("setgid", 0755)); T(chown("setgid", 0, 55)); T(chmod("setgid", 02775)); text("setgid/f", ""); T(mkdir("setgid/d", 0700)); show("setgid/f"); show("setgid/d");
  struct timespec t[2] = {{-100, 5}, {1000000000, 123456789}}; struct stat s;
  T(utimensat(AT_FDCWD, "plain", t, 0)); stat("plain", &s); T(s.st_atim.tv_sec); T(s.st_mtim.tv_sec); T(s.st_mtim.tv_nsec);
  t[0].tv_nsec = UTIME_OMIT; t[1].tv_nsec = UTIME_NOW; T(utimensat(AT_FDCWD, "plain", t, 0)); stat("plain", &s); T(s.st_atim.tv_sec); T(s.st_mtim.tv_sec > 1500000000);
  T(lsetxattr("plain", "user.a", "value", 5, XATTR_REPLACE)); T(setxattr("plain", "user.a", "value", 5, XATTR_CREATE)); T(setxattr("plain", "user.a", "v2", 2, XATTR_CREATE));
  char buffer[100]; T(getxattr("plain", "user.a", buffer, 100)); T(getxattr("plain", "user.a", buffer, 3)); T(getxattr("plain", "user.a", 0, 0)); T(getxattr("plain", "user.b", buffer, 3)); T(listxattr("plain", buffer, 100)); T(listxattr("plain", buffer, 2));
  T(setxattr("plain", "trusted.x", "t", 1, 0)); T(setxattr("plain", "bad", "t", 1, 0)); T(lsetxattr("symlink", "user.x", "t", 1, 0)); T(removexattr("plain", "user.a")); T(removexattr("plain", "user.a"));
  unsigned char cap[20] = {1, 0, 0, 2, 0, 4}; T(setxattr("plain", "security.capability", cap, 20, 0)); T(getxattr("plain", "security.capability", buffer, 100)); text("plain", "gone"); T(getxattr("plain", "security.capability", buffer, 100));
  text("secret", "s"); chmod("secret", 0600); mkdir("closed", 0700); mkdir("sticky", 01777); chmod("sticky", 01777); text("sticky/owned", ""); mkdir("mine", 0777); chmod("mine", 0777);
  text("suid", ""); chmod("suid", 06777); text("suid2", "longer"); chmod("suid2", 06777);
  as_user(user_work);
  mkdir("gone", 0755); int fd = open("gone", O_DIRECTORY); T(rmdir("gone")); T(openat(fd, "x", O_CREAT | O_WRONLY, 0600)); fstat(fd, &s); T(s.st_nlink); close(fd);
}

static void contents(void) {
  int fd = open("data", O_CREAT | O_RDWR, 0644); char block[8192];
  for (int i = 0; i < 8192; i++) block[i] = i * 7;
  T(pwrite(fd, block, 8192, 100000)); T(lseek(fd, 0, SEEK_DATA) <= 100000); T(lseek(fd, 100000, SEEK_HOLE)); T(lseek(fd, 200000, SEEK_DATA)); T(sum("data"));
  T(ftruncate(fd, 104000)); T(ftruncate(fd, 120000)); T(sum("data")); show("data"); T(ftruncate(fd, -1));
  T(fallocate(fd, 0, 0, 300000)); show("data"); T(fallocate(fd, FALLOC_FL_KEEP_SIZE, 300000, 5000)); show("data");
  T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 101000, 2000)); T(sum("data")); T(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10)); T(fallocate(fd, 0, 0, 0)); T(fallocate(fd, 0, -1, 10));
  int out = open("copy", O_CREAT | O_RDWR, 0644); off_t in = 99000, to = 5; long copied = 0, n;
  while ((n = copy_file_range(fd, &in, out, &to, 50000 - copied, 0)) > 0) copied += n;
  T(copied); T(sum("copy")); show("copy");
  char *map = mmap(0, 300000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); T(map != MAP_FAILED); memcpy(map + 250000, "mapped", 6); T(msync(map, 300000, MS_SYNC)); T(pread(fd, block, 6, 250000)); T(memcmp(block, "mapped", 6)); T(sum("data")); munmap(map, 300000);
  T(pwrite(fd, "y", 1, 299999)); T(pread(fd, block, 10, 299995)); T(pread(fd, block, 10, 300000));
  int append = open("data", O_WRONLY | O_APPEND); T(write(append, "end", 3)); T(lseek(append, 0, SEEK_CUR)); close(append); show("data");
  T(fsync(fd)); T(fdatasync(fd)); T(syncfs(fd)); int dir = open(".", O_RDONLY); T(fsync(dir)); T(flock(fd, LOCK_EX | LOCK_NB)); int other = open("data", O_RDWR); T(flock(other, LOCK_EX | LOCK_NB)); T(flock(fd, LOCK_UN));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10}; T(fcntl(fd, F_OFD_SETLK, &lock)); T(fcntl(other, F_OFD_SETLK, &lock)); close(other); close(fd);
  fd = open("big", O_CREAT | O_RDWR, 0644); T(pwrite(fd, "far", 3, 1L << 40)); show("big"); T(pread(fd, block, 3, 1L << 40)); T(ftruncate(fd, 0)); close(fd);
  fd = open("trunc", O_CREAT | O_RDWR, 0644); for (int i = 0; i < 100; i++) if (write(fd, block, 777) != 777) puts("short"); T(sum("trunc")); close(fd); T(open("trunc", O_TRUNC | O_WRONLY) > 0); show("trunc");
  fd = open("direct", O_CREAT | O_RDWR | O_DIRECT, 0644);
  if (fd >= 0) { char *aligned = aligned_alloc(4096, 8192); memset(aligned, 'd', 8192); if (pwrite(fd, aligned, 8192, 4096) != 8192) puts("direct write"); if (pread(fd, aligned, 8192, 4096) != 8192) puts("direct read"); close(fd); }
  else text("direct", "");
}

static void directories(void) {
  T(mkdir("many", 0755)); char path[64];
  for (int i = 0; i < 3000; i++) { sprintf(path, "many/file number %d", i); close(open(path, O_CREAT | O_WRONLY, 0644)); }
  T(names("many"));
  DIR *dir = opendir("many"); int seen = 0, removed = 0; struct dirent *e;
  while ((e = readdir(dir))) { if (e->d_name[0] == '.') continue; seen++; sprintf(path, "many/%s", e->d_name); removed += unlink(path) == 0; }
  T(seen); T(removed); rewinddir(dir); seen = 0; while (readdir(dir)) seen++; T(seen); closedir(dir); T(rmdir("many"));
  struct statvfs v; T(statvfs(".", &v)); T(v.f_namemax); T(v.f_bfree > 0);
}

int main(void) {
  umask(022);
  kinds(); links(); renames(); attributes(); contents(); directories();
  return 0;
}
