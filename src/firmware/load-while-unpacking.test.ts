import { expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { Memory } from '../machine/memory.ts';
import { seededRandom } from '../machine/testing/random.ts';
import type { KernelRequest } from './boot-plan.ts';
import { parseBzImage } from './bzimage.ts';
import { loadKernel } from './load-kernel.ts';
import { loadWhileUnpacking } from './load-while-unpacking.ts';
import { memoryMap } from './memory-map.ts';
import { makeBzImage, makeElf } from './testing/kernels.ts';

const MIB = 2 ** 20;
const random = seededRandom(5);
const bytes = (length: number, zeros = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, n) => (n < zeros || n >= length - zeros ? 0 : 1 + random(255)));

const vmlinux = makeElf({
  bits: 64,
  entry: 0x20_0000,
  segments: [
    { paddr: 0x20_0000, data: bytes(30_000, 9000), memorySize: 40_000 },
    { paddr: 0x40_0123, data: bytes(5000), memorySize: 5000 },
    { paddr: 0x30_0000, data: bytes(20_000, 5000), memorySize: 30_000 },
  ],
});

function machine(): { memory: Memory; request: KernelRequest } {
  const memory = new Memory(16 * MIB, 0);
  // As after a reset: a guest has run there.
  memory.view(0x20_0000, 3 * MIB)!.fill(0xcc);
  const kernel = makeBzImage({});
  return { memory, request: { kernel, name: 'kernel', commandLine: 'quiet', memoryMap: memoryMap(memory.ranges, {}) } };
}

function* cut(file: Uint8Array, size: number, fault?: Error): Generator<Uint8Array, void> {
  const piece = new Uint8Array(size);
  for (let at = 0; at < file.length; at += size) {
    piece.set(file.subarray(at, at + size));
    yield piece.subarray(0, Math.min(size, file.length - at));
    piece.fill(0xee);
  }
  if (fault) throw fault;
}

const load = ({ memory, request }: ReturnType<typeof machine>, pieces: Iterable<Uint8Array>, fileBytes = vmlinux.length) =>
  loadWhileUnpacking(memory, { request, image: parseBzImage(request.kernel, 'kernel'), pieces, fileBytes });

test('a kernel in pieces gets where one in one piece does', async () => {
  const whole = machine();
  await loadKernel(whole.memory, { ...whole.request, kernel: vmlinux });
  for (const size of [400, 1000, 4096, 16_384, 65_536]) {
    const one = machine();
    const plan = await load(one, cut(vmlinux, size));
    expect(plan?.registers.rip).toBe(0x20_0000n);
    const segments = (memory: Memory): Uint8Array => memory.view(0x10_0000, 15 * MIB)!;
    expect(Buffer.from(segments(one.memory)).equals(segments(whole.memory)), `pieces of ${size}`).toBe(true);
  }
});

test('one whose first piece does not say where it goes is left to be unpacked as a whole', async () => {
  const bad = vmlinux.slice();
  bad[18] = 99;
  for (const pieces of [cut(vmlinux, 100), cut(bad, 4096), cut(bytes(9000), 4096), []]) {
    const one = machine();
    const before = one.memory.bytes.slice();
    expect(await load(one, pieces)).toBeUndefined();
    expect(Buffer.from(one.memory.bytes).equals(before)).toBe(true);
  }
});

test('one that does not fit the RAM is left as well', async () => {
  const one = machine();
  const large = makeElf({ bits: 64, entry: 0x20_0000, segments: [{ paddr: 0x20_0000, data: bytes(500), memorySize: 16 * MIB }] });
  expect(await load(one, cut(large, 4096), large.length)).toBeUndefined();
});

test('damage that shows after some pieces leaves zeros', async () => {
  const one = machine();
  const fault = new VmError('bad-image', 'damaged');
  await expect(load(one, cut(vmlinux, 4096, fault))).rejects.toBe(fault);
  expect(one.memory.view(0, 0x20_0000 + 40_000)!.every((byte) => byte === 0)).toBe(true);
  expect(one.memory.view(0x40_0123, 5000)!.every((byte) => byte === 0)).toBe(true);
});
