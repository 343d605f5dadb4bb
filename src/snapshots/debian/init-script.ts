/**
 * The guest's process 1, in Perl: perl-base is Essential in Debian, and one process that makes system calls costs an
 * emulated processor a tenth of what a shell script with a dozen mount(8), ln(1) and stty(1) costs.
 */

/** Name of the virtio-console port on which the guest tells the host how it ended. */
export const CONTROL_PORT = 'org.daybreak.control';

/** Where the per-run archive puts its files. */
export const RUN_DIRECTORY = 'run/daybreak';

export const INIT_SCRIPT = String.raw`#!/usr/bin/perl
# Mounts what programs expect, runs a shell or one command with the console as its controlling terminal, writes
# "exit STATUS" to the control port and powers off. Numbers are those of x86-64: asm/unistd_64.h, asm/ioctls.h.
use strict;

my $run = '/${RUN_DIRECTORY}';
my ($MS_NOSUID, $MS_NODEV, $MS_NOEXEC) = (2, 4, 8);

sub mounted {
  my ($type, $target, $flags, $options) = @_;
  mkdir $target;
  my $source = $type;
  syscall(165, $source, $target, $type, $flags, $options);
}

sub content {
  my ($path) = @_;
  open(my $file, '<', $path) or return undef;
  local $/;
  my $text = <$file>;
  return defined $text ? $text : '';
}

sub put {
  my ($path, $text) = @_;
  sysopen(my $file, $path, 0x801) or return 0;    # O_WRONLY|O_NONBLOCK
  return syswrite($file, $text);
}

mounted('devtmpfs', '/dev', $MS_NOSUID, 'mode=0755');
open(STDIN, '<', '/dev/console');
open(STDOUT, '>', '/dev/console');
open(STDERR, '>', '/dev/console');
mounted('proc', '/proc', $MS_NOSUID | $MS_NODEV | $MS_NOEXEC, '');
mounted('sysfs', '/sys', $MS_NOSUID | $MS_NODEV | $MS_NOEXEC, '');
mounted('devpts', '/dev/pts', $MS_NOSUID | $MS_NOEXEC, 'gid=5,mode=620,ptmxmode=666');
mounted('tmpfs', '/dev/shm', $MS_NOSUID | $MS_NODEV, 'mode=1777');
symlink('/proc/self/fd', '/dev/fd');
symlink('fd/0', '/dev/stdin');
symlink('fd/1', '/dev/stdout');
symlink('fd/2', '/dev/stderr');

my $hostname = content('/etc/hostname');
chomp $hostname;
syscall(170, $hostname, length $hostname);
my $request = pack('a16sx22', 'lo', 0x41);    # IFF_UP|IFF_RUNNING
my $socket;
socket($socket, 2, 2, 0) and ioctl($socket, 0x8914, $request);    # SIOCSIFFLAGS
close $socket;

my @consoles = split ' ', content('/sys/class/tty/console/active') || 'console';
my $console = "/dev/$consoles[-1]";

sub control {
  my ($message) = @_;
  for my $port (glob '/sys/class/virtio-ports/*') {
    my $name = content("$port/name");
    next unless defined $name;
    chomp $name;
    return put('/dev/' . substr($port, rindex($port, '/') + 1), "$message\n") if $name eq '${CONTROL_PORT}';
  }
}

%ENV = (
  PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin',
  HOME => '/root', USER => 'root', LOGNAME => 'root', SHELL => '/bin/bash', LANG => 'C.UTF-8', TERM => -e "$run/plain" ? 'dumb' : 'linux',
);
my $term = content("$run/term");
if (defined $term) {
  chomp $term;
  my $entry = substr($term, 0, 1) . "/$term";
  $ENV{TERM} = -e "/usr/share/terminfo/$entry" || -e "/usr/lib/terminfo/$entry" ? $term : 'xterm-256color';
}
my $words = content("$run/command");
my @command = defined $words ? split(/\0/, $words, -1) : ('bash');
pop @command if defined $words;

my $child = fork;
if (!$child) {
  syscall(112);    # setsid
  open(STDIN, '+<', $console) or die "$console: $!\n";
  ioctl(STDIN, 0x540e, 0);    # TIOCSCTTY
  open(STDOUT, '>&', \*STDIN);
  open(STDERR, '>&', \*STDIN);
  my $window = "\0" x 8;
  ioctl(STDIN, 0x5413, $window);    # TIOCGWINSZ
  my $size = content("$run/size");
  if (defined $size && unpack('S', $window) == 0) {
    $window = pack('S4', split(' ', $size), 0, 0);
    ioctl(STDIN, 0x5414, $window);    # TIOCSWINSZ
  }
  my $termios = "\0" x 64;
  if (ioctl(STDIN, 0x5401, $termios)) {    # TCGETS
    my ($input, $output, $line, $local) = unpack('L4', $termios);
    $input |= 0x4000;    # IUTF8
    ($output, $local) = ($output & ~4, $local & ~8) if -e "$run/plain";    # no ONLCR, no ECHO
    substr($termios, 0, 16) = pack('L4', $input, $output, $line, $local);
    ioctl(STDIN, 0x5402, $termios);    # TCSETS
  }
  chdir '/root';
  control('started');
  { exec { $command[0] } @command; }    # in a block of its own: perl warns of what follows an exec
  my $missing = $! == 2;    # ENOENT
  print STDERR "$command[0]: $!\n";
  exit($missing ? 127 : 126);
}
my $pid;
do { $pid = waitpid(-1, 0) } until $pid == $child || $pid < 0;    # orphans end here too
my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
control("exit $status");
put('/proc/sys/kernel/printk', "0\n");    # the kernel's farewell is not the command's output
syscall(169, 0xfee1dead, 672274793, 0x4321fedc, 0);    # reboot: power off
sleep 60 while 1;
`;
