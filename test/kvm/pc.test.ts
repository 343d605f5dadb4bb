/** The whole PC on KVM, with the interrupt controllers of the host's kernel. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { concatBytes } from '../../src/base/bytes.ts';
import { createPc, type Pc, type PcOptions } from '../../src/boards/pc.ts';
import { readSavedPc, type SavedPc } from '../../src/boards/pc-state.ts';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import type { StateCodec } from '../../src/machine/saved-state.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import { NodePace } from '../../src/node/pace.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { openKvm, type Kvm } from './guest.ts';
import { threadProgram } from './kernel-guest.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';

/** Counts in memory, and prints the count's second byte each 256th time. */
const COUNTING = [
  0xff, 0x05, 0, 0, 0x18, 0, 0xa1, 0, 0, 0x18, 0, // inc dword [0x180000]; mov eax, [0x180000]
  0xa8, 0xff, 0x75, 0xf1, // test al, 0xff; jnz
  0x66, 0xba, 0xf8, 0x03, 0x88, 0xe0, 0xee, // mov dx, 0x3f8; mov al, ah; out dx, al
  0xeb, 0xe8,
]; // prettier-ignore

let kvm: Kvm | undefined;
let program: ThreadProgram;
let codec: StateCodec;
const accelerators: KvmAccelerator[] = [];
beforeAll(async () => {
  kvm = await openKvm();
  program = await threadProgram();
  codec = await nodeStateCodec();
});
afterAll(() => {
  for (const accelerator of accelerators) accelerator.dispose();
  kvm?.accelerator.dispose();
});

interface Made {
  readonly pc: Pc;
  readonly printed: number[];
  until(count: number): Promise<void>;
}

async function make(code: readonly number[], options: Partial<PcOptions> = {}): Promise<Made> {
  const accelerator = new KvmAccelerator(kvm!.native, { program });
  accelerators.push(accelerator);
  const printed: number[] = [];
  const pc = await createPc({
    memoryBytes: 4 << 20,
    accelerator,
    pace: new NodePace(),
    epochMs: Date.UTC(2026, 10, 22),
    entropy: { fill: (into) => void into.fill(7) },
    serial: { write: (data) => void printed.push(...data) },
    kernel: { kernel: makeMultiboot(undefined, Uint8Array.from(code)), name: 'made', commandLine: '' },
    ...options,
  });
  return {
    pc,
    printed,
    async until(count) {
      while (printed.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
    },
  };
}

test('is saved while it runs, and goes on from there in another KVM', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  const one = await make(COUNTING);
  const ended = one.pc.machine.run();
  await one.until(20);
  const parts: Uint8Array[] = [];
  await one.pc.save(codec, async (data) => void parts.push(...data), 'end');
  expect(await ended).toEqual({ kind: 'stopped' });
  const before = one.printed.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(one.printed.length).toBe(before);
  const data = concatBytes(parts);
  const read = (offset: number, length: number): Uint8Array => data.subarray(offset, offset + length);
  const open = (): SavedPc => readSavedPc({ name: 'machine.state', sizeBytes: data.length, read }, codec);
  const other = await make(COUNTING, { restore: { state: open(), identity: 'same' } });
  const otherEnded = other.pc.machine.run();
  await other.until(20);
  other.pc.machine.end({ kind: 'stopped' });
  await otherEnded;
  const all = [...one.printed, ...other.printed];
  expect(all).toEqual(all.map((_, n) => (n + 1) & 0xff));

  // A machine that has seen more of a processor than there is.
  const state = open();
  state.cpu.features.push('telepathy');
  await expect(make(COUNTING, { restore: { state, identity: 'same' } })).rejects.toThrow(/this one has max \(without telepathy\)/);
  // Or of fewer processors than are asked for.
  const two = make(COUNTING, { cpus: 2, restore: { state: open(), identity: 'same' } });
  await expect(two).rejects.toThrow(/saved with 1 processor, this one has 2: leave --cpus out/);
});

test('starts again after a reset by the guest', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  // mov dx, 0x3f8; mov al, 'r'; out dx, al; mov dx, 0xcf9; mov al, 6; out dx, al; jmp .
  const resetting = [0x66, 0xba, 0xf8, 3, 0xb0, 0x72, 0xee, 0x66, 0xba, 0xf9, 0x0c, 0xb0, 6, 0xee, 0xeb, 0xfe];
  const { pc, until, printed } = await make(resetting);
  const ended = pc.machine.run();
  await until(3);
  pc.machine.end({ kind: 'stopped' });
  await ended;
  expect(printed.slice(0, 3)).toEqual([0x72, 0x72, 0x72]);
});

describe('several processors', () => {
  const u32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
  const store = (address: number, value: number): number[] => [0xc7, 0x05, ...u32(address), ...u32(value)];
  /** At 0x8000, in real mode: mov dx, 0x3f8; mov al, 's'; out dx, al; hlt; jmp */
  const second = [0xba, 0xf8, 0x03, 0xb0, 0x73, 0xee, 0xf4, 0xeb, 0xfd, 0x90, 0x90, 0x90];
  const words = [0, 4, 8].map((at) => second.slice(at, at + 4).reduce((word, byte, n) => word | (byte << (8 * n)), 0) >>> 0);
  const waking = [
    ...words.flatMap((word, n) => store(0x8000 + 4 * n, word)),
    ...store(0xfee0_0310, 0x0100_0000),
    ...store(0xfee0_0300, 0x4500), // INIT
    ...store(0xfee0_0300, 0x4608), // SIPI to 0x8000
    ...[0xfb, 0xf4, 0xeb, 0xfd],
  ];

  test('each starts when the first one wakes it, and prints by the machine’s own devices', async (context) => {
    if (!kvm) return context.skip('no KVM here');
    const { pc, until, printed } = await make(waking, { cpus: 2 });
    const ended = pc.machine.run();
    await until(1);
    expect(printed).toEqual([0x73]);
    pc.machine.end({ kind: 'stopped' });
    expect(await ended).toEqual({ kind: 'stopped' });
  });

  test('are refused when there are more than KVM takes, and without KVM', async (context) => {
    if (!kvm) return context.skip('no KVM here');
    await expect(make(waking, { cpus: 5000 })).rejects.toThrow(/5000 processors are too many/);
    await expect(make(waking, { cpus: 2, accelerator: kvm.accelerator })).rejects.toThrow(/2 processors need KVM/);
  });
});
