/** A small system for export: busybox, and the driver of virtio disks as a module. */
import { spawn } from 'node:child_process';
import { sha256 } from '../../src/base/sha256.ts';
import { MemoryChunkStore } from '../../src/storage/chunk-store.ts';
import { Tree, type TreeNode } from '../../src/storage/tree.ts';
import type { ExportedSystem } from '../../src/snapshots/export/bootable-disk.ts';
import type { Suite } from './debian.ts';

const meta = { mode: 0o755, uid: 0, gid: 0, mtime: 1_790_000_000 };
const INIT = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
echo "root $(grep ' / ' /proc/mounts | grep -v rootfs | cut -d' ' -f3,4)"
echo "owner $(stat -c %u:%g:%a /srv) links $(stat -c %h /srv/one) device $(stat -c %t:%T /srv/null)"
echo "sum $(sha256sum < /srv/data)"
echo written > /srv/written && sync && echo "read $(cat /srv/written)"
exec getty -L 115200 ttyS0 vt100
`;

/** 1.5 MB that no compressor makes smaller, with a beginning of its own in each block. */
export const DATA = Uint8Array.from({ length: 1_500_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 0xff);

export async function smallSystem(suite: Suite): Promise<ExportedSystem> {
  const kernel = await suite.kernel('linux-image-cloud-amd64');
  const driver = await suite.file(`linux-modules-${kernel.release}`, /\/virtio_blk\.ko(\.xz)?$/);
  const busybox = await suite.busybox();
  const store = new MemoryChunkStore();
  const nodes = new Map<string, TreeNode>();
  const file = async (content: string | Uint8Array, more: object = {}): Promise<TreeNode> => {
    const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    return { type: 'file', ...meta, digest: await store.put(data), sizeBytes: data.length, ...more };
  };
  const modules = `usr/lib/modules/${kernel.release}`;
  const place = 'kernel/drivers/block/virtio_blk.ko.xz';
  for (const path of ['', 'bin', 'sbin', 'proc', 'sys', 'dev', 'etc', 'tmp', 'usr', 'usr/lib', 'usr/lib/modules']) nodes.set(path, { type: 'directory', ...meta }); // prettier-ignore
  for (const part of ['', '/kernel', '/kernel/drivers', '/kernel/drivers/block']) nodes.set(`${modules}${part}`, { type: 'directory', ...meta }); // prettier-ignore
  nodes.set('srv', { type: 'directory', ...meta, mode: 0o1770, uid: 33, gid: 44 });
  nodes.set(`${modules}/${place}`, await file(driver.data));
  nodes.set(`${modules}/modules.dep`, await file(`${place}:\n`));
  nodes.set('bin/busybox', await file(busybox.data));
  for (const name of ['sh', 'mount', 'grep', 'cut', 'stat', 'sha256sum', 'cat', 'sync', 'getty', 'login']) nodes.set(`bin/${name}`, { type: 'symlink', ...meta, target: 'busybox' }); // prettier-ignore
  nodes.set('sbin/init', await file(INIT));
  nodes.set('etc/hostname', await file('exported\n'));
  const linked = await file('linked');
  nodes.set('srv/one', linked);
  nodes.set('srv/two', linked);
  nodes.set('srv/null', { type: 'char', ...meta, mode: 0o666, major: 1, minor: 3 });
  nodes.set('srv/data', await file(DATA));
  const tree = new Tree(nodes);
  return { tree, digest: await tree.digest(), store, kernel: kernel.vmlinuz.data, kernelVersion: kernel.release, label: 'exported' };
}

export const expectedOutput = async (): Promise<RegExp[]> => [
  /root ext4 rw/,
  /owner 33:44:1770 links 2 device 1:3/,
  new RegExp(`sum ${await sha256(DATA)}`),
  /read written/,
  /login: /,
];

/** What QEMU's serial port prints, until `until`, or until `timeoutMs` have passed. */
export function qemuOutput(args: readonly string[], until: RegExp, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const qemu = spawn('qemu-system-x86_64', ['-accel', 'tcg', '-m', '512', '-nographic', '-no-reboot', '-monitor', 'none', '-serial', 'stdio', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }); // prettier-ignore
    let output = '';
    const end = () => void qemu.kill('SIGKILL');
    const late = setTimeout(end, timeoutMs);
    qemu.stdout.setEncoding('latin1').on('data', (text: string) => {
      output += text;
      if (until.test(output)) end();
    });
    qemu.stderr.setEncoding('latin1').on('data', (text: string) => (output += text));
    qemu.on('error', reject);
    qemu.on('close', () => {
      clearTimeout(late);
      resolve(output);
    });
  });
}
