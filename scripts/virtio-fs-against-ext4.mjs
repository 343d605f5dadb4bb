// What a root over virtio-fs costs against the same files on ext4 on a virtio disk, on our machine, in CPU time of the whole process:
// node scripts/virtio-fs-against-ext4.mjs [rounds]. As root, with e2fsprogs and xz; packages come from the mirror.
// The boot counts from the kernel's first line on (what comes before differs: a directory's files are read for their digests), and
// for ext4 has the initrd in it that such a root needs. Of several rounds, the least counts.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { cpuSeconds } from './cpu-seconds.mjs';
import { debianDirectory } from './debian-directory.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const rounds = Number(process.argv[2] ?? 3);
const PACKAGES = ['systemd-sysv', 'dbus', 'udev', 'login', 'passwd', 'procps', 'apt', 'mount', 'git', 'sqlite3', 'perl'];
const APPEND = 'console=ttyS0 panic=-1 mitigations=off audit=0 rw';
const PROMPT = /login: $/;
const KINDS = ['virtio-fs', 'ext4'];
const DISK_BYTES = 2 ** 30;

const WORKLOADS = `#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/root LANG=C GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
mount -t proc proc /proc; mount -t sysfs sys /sys; [ -c /dev/null ] || mount -t devtmpfs dev /dev
mkdir /w; cd /w
mark() { echo "MARK $1"; }
drop() { sync; echo 3 > /proc/sys/vm/drop_caches; }
drop; mark "programs start, nothing cached"
git --version; perl -e 'use POSIX; print "ok\\n"'; sqlite3 --version; apt-get --version > log
drop; mark "find, nothing cached"
find /usr /etc /var -xdev -size +1M | wc -l
mark "find again"
find /usr /etc /var -xdev -size +1M | wc -l
drop; mark "read /usr/bin and /usr/lib"
tar -C / -cf - usr/bin usr/lib | cat > /dev/null
drop; mark "write 64 MB"
dd if=/dev/zero of=big bs=1M count=64 2> log; sync
mark "create 2000 files"
perl -e 'for (1..2000) { open F, ">", "f$_"; print F "x" x 500; close F }'; sync
mark "remove them"
perl -e 'unlink glob("f*")'; sync
drop; mark "git init, add, commit, status"
git init -q repo; cd repo; cp -r /etc .; git add -A; git commit -qm x; git status > ../log; cd ..; sync
drop; mark "sqlite: 5000 rows, 10 transactions"
sqlite3 db "create table t(a,b); with recursive c(x) as (select 1 union all select x+1 from c where x<5000) insert into t select x, hex(randomblob(50)) from c;"
for i in 1 2 3 4 5 6 7 8 9 10; do sqlite3 db "insert into t values ($i, 1);"; done; sync
mark end
echo o > /proc/sysrq-trigger; sleep 100
`;

/** Boots from a fresh root of this kind; `onOutput(text, cpu)` is told all output and the CPU used by then, and ends the machine by true. */
function boot(directory, kind, append, onOutput) {
  const [disk, image] = ['disk.raw', 'image.raw'].map((name) => join(directory, name));
  if (kind === 'ext4') execFileSync('cp', ['--sparse=always', image, disk]);
  const where =
    kind === 'ext4'
      ? ['--disk', disk, '--initrd', join(directory, 'initrd'), '--append', `${APPEND} ${append}`]
      : ['--fs', `debian=${join(directory, 'root')}`, '--append', `${APPEND} root=debian rootfstype=virtiofs ${append}`];
  const args = ['boot', '--kernel', join(directory, 'vmlinuz'), '--memory', '1024', '--no-reboot', ...where];
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [join(root, 'dist/daybreak.js'), ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    let output = '';
    let over = false;
    child.stdout.on('data', (data) => {
      output += data.toString('latin1');
      if (over || !onOutput(output, cpuSeconds(child.pid))) return;
      over = true;
      child.kill('SIGKILL');
    });
    child.on('exit', () => (over ? done() : failed(new Error(`${kind}: ended too early:\n${output.slice(-2000)}`))));
  });
}

async function login(directory, kind) {
  let began;
  let spent;
  await boot(directory, kind, '', (output, cpu) => {
    began ??= cpu;
    if (!PROMPT.test(output)) return false;
    spent = cpu - began;
    return true;
  });
  return [['systemd to the login prompt', spent]];
}

async function workloads(directory, kind) {
  const results = [];
  let last;
  await boot(directory, kind, 'quiet init=/workloads.sh', (output, cpu) => {
    const marks = [...output.matchAll(/^MARK (.*?)\r?\n/gm)].map(([, name]) => name);
    if (marks.length === (last?.count ?? 0)) return false;
    if (last) results.push([last.name, cpu - last.cpu]);
    if (last && marks.length > last.count + 1) throw new Error(`${kind}: nothing between ${last.name} and ${marks.at(-1)}`);
    last = { name: marks.at(-1), count: marks.length, cpu };
    return last.name === 'end';
  });
  return results;
}

await build();
const directory = mkdtempSync(join(tmpdir(), 'virtio-fs-against-ext4-'));
try {
  await debianDirectory(directory, PACKAGES, { 'workloads.sh': WORKLOADS });
  execFileSync('truncate', ['-s', String(DISK_BYTES), join(directory, 'image.raw')]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-d', join(directory, 'root'), join(directory, 'image.raw')]);
  const least = new Map();
  for (let round = 1; round <= rounds; round++) {
    for (const measure of [login, workloads]) {
      for (const kind of KINDS) {
        for (const [what, cpu] of await measure(directory, kind)) {
          console.log(`round ${round}, ${kind}: ${what}: ${cpu.toFixed(2)} s`);
          const known = least.get(what) ?? {};
          least.set(what, { ...known, [kind]: Math.min(cpu, known[kind] ?? Infinity) });
        }
      }
    }
  }
  console.log(`\nleast of ${rounds}, CPU seconds: virtio-fs, ext4, virtio-fs / ext4`);
  for (const [what, { 'virtio-fs': fs, ext4 }] of least) {
    console.log(`${what.padEnd(36)}${fs.toFixed(2).padStart(7)}${ext4.toFixed(2).padStart(7)}${(fs / ext4).toFixed(2).padStart(7)}`);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
