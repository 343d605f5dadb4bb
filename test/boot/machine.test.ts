import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { sha256 } from '../../src/base/sha256.ts';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import { boot, buildDaybreak, type Reaction } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { initramfs, Scratch } from './initramfs.ts';
import { COMPLAINTS, fetched } from './linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TIMEOUT_MS = 600_000;
const MODULES = ['virtio', 'virtio_ring', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk'];

/** Repeatable bytes that do not compress. */
function noise(sizeBytes: number): Uint8Array {
  const words = new Uint32Array(sizeBytes / 4);
  let seed = 1;
  for (let i = 0; i < words.length; i++) words[i] = seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer);
}

test(
  'disks: the guest reads what is in the file, writes reach it, and none gets into a read-only one',
  { timeout: TIMEOUT_MS },
  async (context) => {
    const { kernel, busybox } = await fetched(context, async () => {
      const suite = await openSuite('bookworm');
      const kernel = await suite.kernel('linux-image-cloud-amd64', ...MODULES.map((name) => new RegExp(`/${name}\\.ko$`)));
      return { kernel, busybox: (await suite.busybox()).data };
    });
    const size = 8 << 20;
    const at = 1 << 20;
    const content = noise(size);
    const disk = scratch.write('disk', content);
    const fixed = scratch.write('fixed', content);
    const script = `${MODULES.map((name) => `insmod /lib/${name}.ko\n`).join('')}
echo "READ $(sha256sum < /dev/vda)"
dd if=/bin/busybox of=/dev/vda bs=4k seek=${at / 4096} conv=fsync && echo WRITTEN
dd if=/bin/busybox of=/dev/vdb bs=4k conv=fsync || echo REFUSED
poweroff -f
`;
    const modules = Object.fromEntries(kernel.others.map(({ data }, i) => [`lib/${MODULES[i]}.ko`, data]));
    const initrd = scratch.write('disks.cpio', await initramfs(busybox, script, modules));
    const ended = await boot([
      ...['--kernel', kernel.vmlinuz.path, '--initrd', initrd, '--append', 'console=ttyS0 panic=-1', '--no-reboot'],
      ...['--disk', disk, '--disk', `${fixed},ro`],
    ]);
    expect(ended.output).toContain(`READ ${await sha256(content)}`);
    expect(ended.output).toContain('WRITTEN');
    expect(ended.output).toContain('REFUSED');
    expect(ended.output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
    expect(ended.status).toBe(0);
    const written = content.slice();
    written.set(busybox, at);
    expect(await sha256(readFileSync(disk))).toBe(await sha256(written));
    expect(await sha256(readFileSync(fixed))).toBe(await sha256(content));
  },
);

test('a guest that reboots starts again', { timeout: TIMEOUT_MS }, async (context) => {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    return { kernel: await suite.kernel('linux-image-cloud-amd64'), busybox: (await suite.busybox()).data };
  });
  const initrd = scratch.write('reboot.cpio', await initramfs(busybox, 'echo USERLAND\nreboot -f\n'));
  const twice: Reaction = { seen: /USERLAND[^]*USERLAND/, action: 'SIGTERM' };
  const ended = await boot(['--kernel', kernel.vmlinuz.path, '--initrd', initrd, '--append', 'console=ttyS0 panic=-1 quiet'], twice);
  expect(ended.output.match(/USERLAND/g)).toHaveLength(2);
  expect(ended.status).toBe(128 + 15);
});

test('isa-debug-exit ends the program with the status that the guest chose', async () => {
  // mov $5, %al; out %al, $0xf4; hlt; jmp .-1
  const code = Uint8Array.of(0xb0, 0x05, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd);
  const kernel = scratch.write('debug-exit', makeMultiboot(undefined, code));
  const ended = await boot(['--kernel', kernel, '--memory', '16', '--debug-exit']);
  expect(ended.status).toBe((5 << 1) | 1);
});

test('piped input arrives whole and in order, however much it is and slowly the guest reads', { timeout: TIMEOUT_MS }, async () => {
  const input = noise(2 << 20);
  let sum = 0;
  for (const byte of input) sum = (Math.imul(sum, 31) + byte) >>> 0;
  const word = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
  const code = Uint8Array.of(
    ...[0x31, 0xdb, 0xb9, ...word(input.length)], // xor ebx, ebx; mov ecx, length
    ...[0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7], // wait for data
    ...[0x66, 0xba, 0xf8, 0x03, 0xec, 0x0f, 0xb6, 0xc0, 0x6b, 0xdb, 31, 0x01, 0xc3], // ebx = ebx * 31 + byte
    ...[0xe2, 0xe8, 0x81, 0xfb, ...word(sum)], // loop; cmp ebx, sum
    ...[0x0f, 0x94, 0xc0, 0xe6, 0xf4, 0xf4], // sete al; out 0xf4, al; hlt
  );
  const kernel = scratch.write('reader', makeMultiboot(undefined, code));
  const ended = await boot(['--kernel', kernel, '--memory', '16', '--debug-exit'], undefined, input);
  expect(ended.status).toBe((1 << 1) | 1);
});

test.for([
  ['Ctrl-C', 'SIGINT', 128 + 2],
  ['SIGTERM', 'SIGTERM', 128 + 15],
  ['a reader that goes away', 'close', 141],
] as const)('%s ends the machine, with a status of its own', { timeout: TIMEOUT_MS }, async ([, action, status], context) => {
  const kernel = await fetched(context, async () => {
    const suite = await openSuite('bookworm', 'i386');
    return suite.file('gnumach-image-1.8-486', /^boot\/gnumach-.*\.gz$/);
  });
  // It prints for seconds after this, and never ends by itself.
  const ended = await boot(['--kernel', kernel.path, '--append', 'console=com0', '--memory', '64'], { seen: /GNU Mach/, action });
  expect(ended.status).toBe(status);
  expect(ended.errors.replace(/^\{.*\}$/m, '').trim()).toBe('');
});
