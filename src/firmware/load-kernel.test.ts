import { describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { Memory } from '../machine/memory.ts';
import { seededRandom } from '../machine/testing/random.ts';
import type { KernelRequest } from './boot-plan.ts';
import { loadKernel } from './load-kernel.ts';
import { memoryMap } from './memory-map.ts';
import { makeBzImage, makeElf, makeMultiboot } from './testing/kernels.ts';
import { packedSamples } from './testing/packed-samples.ts';

const MIB = 2 ** 20;
const code = Uint8Array.from({ length: 500 }, (_, i) => i);

function machine(mib = 16): { memory: Memory; request: (kernel: Uint8Array, more?: Partial<KernelRequest>) => KernelRequest } {
  const memory = new Memory(mib * MIB, 0);
  const map = memoryMap(memory.ranges, {});
  return {
    memory,
    request: (kernel, more) => ({ kernel, name: 'kernel', commandLine: 'quiet', memoryMap: map, acpiRsdp: 0xe0000, ...more }),
  };
}

const text = (memory: Memory, gpa: number): string => {
  const bytes = memory.view(gpa, 64)!;
  return String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)));
};

const vmlinux = makeElf({
  bits: 64,
  entry: 0x20_0010,
  segments: [{ paddr: 0x20_0000, vaddr: 0xffff_ffff_8020_0000n, data: code, memorySize: 4096 }],
});

async function gzip(data: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([data as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

describe('a bzImage', () => {
  test('is unpacked on the host and its vmlinux entered in 64-bit mode with boot_params', async () => {
    const { memory, request } = machine();
    const initrd = new Uint8Array(5000).fill(7);
    memory.view(0x20_0000, 8192)!.fill(0xcc);
    const plan = await loadKernel(memory, request(makeBzImage({ payload: await gzip(vmlinux) }), { initrd, textScreen: true }));

    expect(plan.protocol).toBe('linux64');
    expect(memory.view(0x20_0000, 500)).toEqual(code);
    expect(
      memory.view(0x20_0000 + 500, 4096 - 500)!.every((byte) => byte === 0),
      'bss is zeroed',
    ).toBe(true);
    expect(memory.view(0x20_1000, 1)![0], 'and no more than that').toBe(0xcc);
    const { registers } = plan;
    expect(registers.rip).toBe(0x20_0010n);
    expect(registers.segments!.cs).toEqual({ selector: 0x10, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b });
    expect([registers.cr0! & 0x8000_0001n, registers.cr4! & 0x20n, registers.efer! & 0x500n]).toEqual([0x8000_0001n, 0x20n, 0x500n]);

    const params = Number(registers.gpr![6]);
    expect(memory.read32(params + 0x202)).toBe(0x53726448);
    expect(memory.read16(params + 0x206)).toBe(0x20f);
    expect(memory.view(params + 0x210, 1)![0]).toBe(0xff);
    expect(memory.read64(params + 0x70)).toBe(0xe0000);
    expect(text(memory, memory.read32(params + 0x228))).toBe('quiet');
    const ramdisk = memory.read32(params + 0x218);
    expect(memory.read32(params + 0x21c)).toBe(5000);
    expect(ramdisk).toBe(16 * MIB - 8192);
    expect(memory.view(ramdisk, 5000)).toEqual(initrd);
    expect([...memory.view(params + 6, 11)!]).toEqual([3, 80, 0, 0, 0, 0, 0, 0, 25, 1, 16]);
    expect(memory.view(params + 0x1e8, 1)![0]).toBe(4);
    const e820 = [0, 1, 2, 3].map((i) =>
      [0, 8].map((at) => memory.read64(params + 0x2d0 + i * 20 + at)).concat(memory.read32(params + 0x2d0 + i * 20 + 16)),
    );
    expect(e820).toEqual([
      [0, 0x9fc00, 1],
      [0x9fc00, 0x400, 2],
      [0xe0000, 0x20000, 2],
      [0x10_0000, 15 * MIB, 1],
    ]);
  });

  test('comes with page tables that map the first 4 GiB onto themselves', async () => {
    const { memory, request } = machine();
    const { registers } = await loadKernel(memory, request(makeBzImage({ payload: await gzip(vmlinux) })));
    for (const address of [0, 0x20_0000, 0x7fff_f123, 0xfee0_0000, 0xffff_ffff]) {
      const pml4e = memory.read64(Number(registers.cr3));
      const pdpte = memory.read64((pml4e & ~0xfff) + 8 * Math.floor(address / 2 ** 30));
      const pde = memory.read64((pdpte & ~0xfff) + 8 * (Math.floor(address / 2 ** 21) % 512));
      expect([pml4e % 4, pdpte % 4, pde % 4, pde & 0x80]).toEqual([3, 3, 3, 0x80]);
      expect(pde - (pde % 2 ** 21) + (address % 2 ** 21)).toBe(address);
    }
  });

  test('enters a 32-bit vmlinux in flat protected mode', async () => {
    const { memory, request } = machine();
    const elf = makeElf({ bits: 32, entry: 0x20_0000, segments: [{ paddr: 0x20_0000, data: code }] });
    const { protocol, registers } = await loadKernel(memory, request(makeBzImage({ payload: await gzip(elf), xloadFlags: 0 })));
    expect(protocol).toBe('linux32');
    expect(registers.rip).toBe(0x20_0000n);
    expect([registers.cr0! & 0x8000_0001n, registers.cr4, registers.efer]).toEqual([1n, 0n, 0n]);
    expect(registers.segments!.cs.attributes).toBe(0xc09b);
    expect(registers.segments!.ds.attributes).toBe(0xc093);
    expect(registers.gpr![6]).toBe(0x7000n);
  });

  test('unpacks itself in the guest when it has no payload that can be unpacked here', async () => {
    for (const [xloadFlags, entry, protocol] of [
      [1, 0x20_0200n, 'linux64'],
      [0, 0x20_0000n, 'linux32'],
    ] as const) {
      const { memory, request } = machine();
      const plan = await loadKernel(memory, request(makeBzImage({ code, xloadFlags })));
      expect([plan.protocol, plan.registers.rip]).toEqual([protocol, entry]);
      expect(memory.view(0x20_0000, code.length)).toEqual(code);
    }
  });

  test('with a damaged payload is refused before anything is written', async () => {
    const { memory, request } = machine();
    const payload = await gzip(vmlinux);
    payload[30]! ^= 0xff;
    await expect(loadKernel(memory, request(makeBzImage({ payload })))).rejects.toThrow(/kernel: .*gzip|the kernel in kernel: .*gzip/);
    expect(memory.view(0, 16 * MIB)!.every((byte) => byte === 0)).toBe(true);
  });

  test('that is cut off, too old or a zImage is refused with the reason', async () => {
    const { memory, request } = machine();
    const whole = makeBzImage({ payload: await gzip(vmlinux) });
    await expect(loadKernel(memory, request(whole.subarray(0, whole.length - 1)))).rejects.toThrow(/payload.*beyond the end.*cut off/);
    await expect(loadKernel(memory, request(makeBzImage({ version: 0x201 })))).rejects.toThrow(
      /boot protocol 2\.01 is not supported \(2\.02 and later are\)/,
    );
    await expect(loadKernel(memory, request(makeBzImage({ loadFlags: 0 })))).rejects.toThrow(/zImage/);
  });

  test('takes a command line up to its own limit', async () => {
    const { memory, request } = machine();
    const kernel = makeBzImage({ commandLineMax: 100 });
    await loadKernel(memory, request(kernel, { commandLine: 'x'.repeat(100) }));
    await expect(loadKernel(memory, request(kernel, { commandLine: 'x'.repeat(101) }))).rejects.toThrow(/101 bytes.*at most 100/);
  });

  test('keeps the initrd above the memory it uses itself, or says that there is no room', async () => {
    const { memory, request } = machine(4);
    const kernel = makeBzImage({ payload: await gzip(vmlinux) });
    await loadKernel(memory, request(kernel, { initrd: new Uint8Array(MIB) }));
    expect(memory.read32(0x7218)).toBe(3 * MIB);
    await expect(loadKernel(memory, request(kernel, { initrd: new Uint8Array(MIB + 1) }))).rejects.toThrow(
      /no room for the initrd .* more memory/,
    );
  });
});

describe('an ELF kernel', () => {
  test('with a PVH note is entered there with start info, memory map and initrd', async () => {
    const { memory, request } = machine();
    const kernel = makeElf({ bits: 64, entry: 0x20_0000, pvhEntry: 0x20_0040, segments: [{ paddr: 0x20_0000, data: code }] });
    const { protocol, registers } = await loadKernel(memory, request(kernel, { initrd: Uint8Array.of(1, 2, 3) }));
    expect([protocol, registers.rip, registers.efer]).toEqual(['pvh', 0x20_0040n, 0n]);
    const info = Number(registers.gpr![3]);
    expect([0, 4, 8, 12].map((at) => memory.read32(info + at))).toEqual([0x336ec578, 1, 0, 1]);
    const module = memory.read64(info + 16);
    expect(memory.view(memory.read64(module), memory.read64(module + 8))).toEqual(Uint8Array.of(1, 2, 3));
    expect(text(memory, memory.read64(info + 24))).toBe('quiet');
    expect(memory.read64(info + 32)).toBe(0xe0000);
    const map = memory.read64(info + 40);
    expect(memory.read32(info + 48)).toBe(4);
    expect([memory.read64(map + 3 * 24), memory.read64(map + 3 * 24 + 8), memory.read32(map + 3 * 24 + 16)]).toEqual([MIB, 15 * MIB, 1]);
  });

  test('without one is taken for a vmlinux', async () => {
    const { memory, request } = machine();
    const { protocol, registers } = await loadKernel(memory, request(vmlinux));
    expect([protocol, registers.rip]).toEqual(['linux64', 0x20_0010n]);
  });

  test('may be compressed as a whole', async () => {
    const { memory, request } = machine();
    expect((await loadKernel(memory, request(await gzip(vmlinux)))).protocol).toBe('linux64');
    await expect(loadKernel(memory, request(await gzip(await gzip(vmlinux))))).rejects.toThrow(/compressed twice/);
    await expect(loadKernel(memory, request(new Uint8Array(Buffer.from(packedSamples['zstd']!, 'base64'))))).rejects.toThrow(
      /not a kernel/,
    );
  });

  test('that does not fit the RAM is refused, with the address, before anything is written', async () => {
    const { memory, request } = machine();
    const segments = [
      { paddr: 0x20_0000, data: code },
      { paddr: 0xff_f000, data: code, memorySize: 0x2000 },
    ];
    const kernel = makeElf({ bits: 64, entry: 0x20_0000, segments });
    await expect(loadKernel(memory, request(kernel))).rejects.toThrow(
      'kernel: segment 1 belongs at 0xfff000 to 0x1000fff, which is not all RAM',
    );
    expect(memory.view(0x20_0000, 500)!.every((byte) => byte === 0)).toBe(true);
  });

  test('may not be loaded over what is handed to it, nor have segments that overlap', async () => {
    const { memory, request } = machine();
    const low = makeElf({ bits: 64, entry: 0x7000, segments: [{ paddr: 0x7000, data: code }] });
    await expect(loadKernel(memory, request(low))).rejects.toThrow(/at 1 MiB or above/);
    const overlapping = [0x20_0000, 0x20_0100].map((paddr) => ({ paddr, data: code }));
    await expect(loadKernel(memory, request(makeElf({ bits: 64, entry: 0x20_0000, segments: overlapping })))).rejects.toThrow(
      /segments 0 and 1 overlap/,
    );
  });
});

describe('a multiboot kernel', () => {
  test('gets the magic numbers, memory map, modules and command line', async () => {
    const { memory, request } = machine();
    const modules = [{ data: Uint8Array.of(9, 9), commandLine: 'ext2fs --readonly' }];
    const { protocol, registers } = await loadKernel(memory, request(makeMultiboot(), { initrd: Uint8Array.of(5), modules }));
    expect(protocol).toBe('multiboot');
    expect([registers.rip, registers.gpr![0]]).toEqual([0x10_0020n, 0x2bad_b002n]);
    const info = Number(registers.gpr![3]);
    expect(memory.read32(info) & 0x4d).toBe(0x4d);
    expect([memory.read32(info + 4), memory.read32(info + 8)]).toEqual([639, 15 * 1024]);
    expect(text(memory, memory.read32(info + 16))).toBe('kernel quiet');
    expect(memory.read32(info + 20)).toBe(2);
    const list = memory.read32(info + 24);
    const [first, second] = [0, 16].map((at) => [0, 4, 8].map((field) => memory.read32(list + at + field)));
    expect(memory.view(first![0]!, first![1]! - first![0]!)).toEqual(Uint8Array.of(5));
    expect(memory.view(second![0]!, second![1]! - second![0]!)).toEqual(Uint8Array.of(9, 9));
    expect([first![0]! % 4096, second![0]! % 4096]).toEqual([0, 0]);
    expect(text(memory, second![2]!)).toBe('ext2fs --readonly');
    expect(memory.read32(info + 44)).toBe(4 * 24);
    const map = memory.read32(info + 48);
    expect([memory.read32(map), memory.read64(map + 4), memory.read64(map + 12), memory.read32(map + 20)]).toEqual([20, 0, 0x9fc00, 1]);
  });

  test('may be an ELF file whose entry point is a virtual address', async () => {
    const { memory, request } = machine();
    const header = makeMultiboot(0).subarray(0, 12);
    const data = new Uint8Array(100);
    data.set(header);
    const kernel = makeElf({ bits: 32, entry: 0xc010_0020, segments: [{ paddr: 0x10_0000, vaddr: 0xc010_0000n, data }] });
    const { protocol, registers } = await loadKernel(memory, request(kernel));
    expect([protocol, registers.rip]).toEqual(['multiboot', 0x10_0020n]);
  });

  test('that needs what no loader here offers is refused', async () => {
    const { memory, request } = machine();
    await expect(loadKernel(memory, request(makeMultiboot(0x1_0023)))).rejects.toThrow(/multiboot features 0x20/);
    await expect(loadKernel(memory, request(makeMultiboot(0x3)))).rejects.toThrow(/no load addresses, and it is not an ELF file/);
  });
});

test('what is no kernel at all is refused, naming what would be', async () => {
  const { memory, request } = machine();
  for (const kernel of [new Uint8Array(), new Uint8Array(10_000), new TextEncoder().encode('#!/bin/sh\n')]) {
    await expect(loadKernel(memory, request(kernel))).rejects.toThrow(
      /kernel: is not a kernel .*bzImage, ELF with PVH note, vmlinux or multiboot/,
    );
  }
});

test('cut off or damaged kernels load or give a VmError, and write to RAM only', async () => {
  const { memory, request } = machine(4);
  const inputs = [
    vmlinux,
    makeElf({ bits: 64, entry: 0x20_0000, pvhEntry: 0x20_0040, segments: [{ paddr: 0x20_0000, data: code }] }),
    makeElf({ bits: 32, entry: 0x20_0000, segments: [{ paddr: 0x20_0000, data: code }] }),
    makeMultiboot(),
    makeBzImage({ code }),
    makeBzImage({ payload: await gzip(vmlinux) }),
  ];
  const random = seededRandom(3);
  const attempt = async (kernel: Uint8Array): Promise<void> => {
    try {
      await loadKernel(memory, request(kernel, { initrd: Uint8Array.of(1) }));
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
    }
  };
  for (const kernel of inputs) {
    for (let length = 0; length < kernel.length; length += 1 + random(20)) await attempt(kernel.subarray(0, length));
    // Headers are where it hurts.
    const spots = [...Array(128).keys(), ...Array.from({ length: 128 }, (_, i) => 0x1f0 + i)].filter((spot) => spot < kernel.length);
    for (let round = 0; round < 500; round++) {
      const damaged = kernel.slice();
      for (let flips = 1 + random(4); flips > 0; flips--) damaged[spots[random(spots.length)]!] = random(3) === 0 ? 0xff : random(256);
      await attempt(damaged);
    }
  }
});
