/**
 * The guest's first program and the little archive that tells it what to do in this run.
 *
 * It runs as /init from the initramfs, mounts what programs expect, starts a shell (or one command) with the console
 * as its controlling terminal, writes `exit STATUS` to the control port and powers off.
 */
import { writeCpio } from '../../storage/cpio.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import { concatBytes } from '../../base/bytes.ts';

/** Name of the virtio-console port on which the guest tells the host how it ended. */
export const CONTROL_PORT = 'org.daybreak.control';

/** Where the per-run archive puts its files. */
const RUN_DIRECTORY = 'run/daybreak';

export const INIT_SCRIPT = `#!/bin/sh
# Started by the kernel as process 1. See https://docs.kernel.org/filesystems/ramfs-rootfs-initramfs.html
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8
mount -t devtmpfs -o nosuid,mode=0755 dev /dev
exec </dev/console >/dev/console 2>&1
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
read -r name </etc/hostname && echo "$name" >/proc/sys/kernel/hostname
# Loopback up: SIOCSIFFLAGS with IFF_UP|IFF_RUNNING; the minimal userland has no ip(8).
perl -e '$r=pack("a16sx22","lo",0x41);socket(S,2,2,0)&&ioctl(S,0x8914,$r)'

read -r consoles </sys/class/tty/console/active
console=/dev/\${consoles##* }
control=
for port in /sys/class/virtio-ports/*; do
  [ -r "$port/name" ] && read -r name <"$port/name" && [ "$name" = ${CONTROL_PORT} ] && control=/dev/\${port##*/}
done

run=/${RUN_DIRECTORY}
TERM=linux
[ -r $run/term ] && read -r TERM <$run/term
entry=\${TERM%"\${TERM#?}"}/$TERM
[ -e /usr/share/terminfo/$entry ] || [ -e /usr/lib/terminfo/$entry ] || TERM=xterm-256color
export TERM
if [ -r $run/size ] && read -r rows columns <$run/size; then
  [ "$(stty -F "$console" size)" = "0 0" ] && stty -F "$console" rows "$rows" cols "$columns"
fi
[ -e $run/plain ] && stty -F "$console" -echo -onlcr
cd /root
if [ -e $run/command ]; then
  setsid -c -w bash -c 'mapfile -d "" -t words </${RUN_DIRECTORY}/command; exec "\${words[@]}"' <"$console" >"$console" 2>&1
else
  setsid -c -w bash -l <"$console" >"$console" 2>&1
fi
status=$?
[ -n "$control" ] && echo "exit $status" >"$control"
sync
echo o >/proc/sysrq-trigger
while :; do sleep 60; done
`;

/** What differs from run to run. */
export interface RunOptions {
  /** A command and its arguments instead of a shell. */
  readonly command?: readonly string[];
  /** The host terminal's size, for when the console device cannot tell. */
  readonly size?: { readonly columns: number; readonly rows: number };
  /** The host terminal's type. */
  readonly term?: string;
  /** No person at the console: no echo, and lines end with LF alone. */
  readonly plain?: boolean;
}

/** A cpio archive to be appended to the initramfs. */
export async function runArchive(options: RunOptions): Promise<Uint8Array> {
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(0);
  const where = 'run archive';
  const put = async (name: string, content: string) => {
    const data = new TextEncoder().encode(content);
    const digest = await store.put(data);
    builder.add(`${RUN_DIRECTORY}/${name}`, { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, digest, sizeBytes: data.length }, where);
  };
  if (options.command) await put('command', options.command.map((word) => `${word}\0`).join(''));
  if (options.size) await put('size', `${options.size.rows} ${options.size.columns}\n`);
  if (options.term && /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/.test(options.term)) await put('term', `${options.term}\n`);
  if (options.plain) await put('plain', '');
  const pieces: Uint8Array[] = [];
  for await (const piece of writeCpio(builder.build(), store)) pieces.push(piece);
  return concatBytes(pieces);
}
