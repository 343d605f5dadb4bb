/** A whole machine, saved and restored: it goes on as if nothing had been, whatever runs it. */
import { Buffer } from 'node:buffer';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { concatBytes } from '../../src/base/bytes.ts';
import { createPc, type Pc, type PcOptions } from '../../src/boards/pc.ts';
import { readSavedPc, type SavedPc } from '../../src/boards/pc-state.ts';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import type { BlockBackend } from '../../src/machine/backends.ts';
import { openState } from '../../src/machine/saved-state-file.ts';
import type { ByteSource, StateCodec } from '../../src/machine/saved-state.ts';
import { NodePace } from '../../src/node/pace.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { seededRandom } from '../../src/machine/testing/random.ts';
import { interpreter } from '../../src/x86/accelerator.ts';
import { buildInterpreter } from '../../src/x86/interpreter/build.ts';
import { Variants } from '../../src/x86/interpreter/variants.ts';
import { ACCELERATORS, INTERPRETER, type TestedAccelerator } from '../accelerators.ts';
import { compileRuntime } from '../engine/runtime.ts';

/** 0x180000, little-endian. */
const COUNTER = [0, 0, 0x18, 0];
const FORGERIES = 40;
const EPOCH = Date.UTC(2026, 10, 22);
/** Counts; writes the count, the PIT's counter and the TSC to a page that depends on it; prints it each 256th time. */
const PROGRAM = [
  0xff, 0x05, ...COUNTER, 0xa1, ...COUNTER, // inc dword [COUNTER]; mov eax, [COUNTER]
  0x89, 0xc3, 0xc1, 0xe3, 12, 0x81, 0xe3, 0, 0xf0, 0x0f, 0, 0x81, 0xc3, 0, 0, 0x20, 0, // ebx = 0x200000 + (eax << 12 & 0xff000)
  0x01, 0x03, // add [ebx], eax
  0x30, 0xc0, 0xe6, 0x43, 0xe4, 0x40, 0x00, 0x43, 4, 0xe4, 0x40, 0x00, 0x43, 5, // latch and read counter 0
  0x0f, 0x31, 0x31, 0x43, 8, // rdtsc; xor [ebx + 8], eax
  0xa1, ...COUNTER, 0xa8, 0xff, 0x75, 7, // test al, 0xff; jnz
  0x66, 0xba, 0xf8, 0x03, 0x88, 0xe0, 0xee, // mov dx, 0x3f8; mov al, ah; out dx, al
  0xeb, 0,
]; // prettier-ignore
PROGRAM[PROGRAM.length - 1] = -PROGRAM.length & 0xff;

let runtime: WebAssembly.Module;
let codec: StateCodec;
beforeAll(async () => {
  runtime = await compileRuntime();
  codec = await nodeStateCodec();
}, 300_000);

const source = (data: Uint8Array): ByteSource => ({
  name: 'machine.state',
  sizeBytes: data.length,
  read: (offset, length) => data.subarray(offset, offset + length),
});

interface Made {
  readonly pc: Pc;
  readonly printed: number[];
}

async function make(
  accelerator: TestedAccelerator,
  options: Partial<PcOptions> & { readonly from?: Uint8Array; readonly model?: string } = {},
): Promise<Made> {
  const printed: number[] = [];
  const { from, model, ...rest } = options;
  const pc = await createPc({
    memoryBytes: 4 << 20,
    accelerator: accelerator.make(runtime, model),
    pace: new NodePace(),
    epochMs: EPOCH,
    entropy: { fill: (into) => void into.fill(7) },
    serial: { write: (data) => void printed.push(...data) },
    kernel: { kernel: makeMultiboot(undefined, Uint8Array.from(PROGRAM)), name: 'made', commandLine: '' },
    ...(from && { restore: { state: readSavedPc(source(from), codec), identity: 'same' } }),
    ...rest,
  });
  return { pc, printed };
}

/** Runs so many instructions of a nanosecond each, or until it has halted or crashed so often. */
function run({ vcpu, machine: { clock } }: Pc, instructions: number, patience = Infinity): void {
  const end = vcpu.executed + instructions;
  clock.setRate(1);
  for (let left = patience; vcpu.executed < end && left > 0; left--) {
    clock.expire();
    const exit = vcpu.run(Math.max(1, Math.min(end - vcpu.executed, clock.instructionsUntil(clock.nextDeadlineNs))));
    if (exit.kind === 'shutdown') return;
    if (exit.kind === 'halt' && clock.nextDeadlineNs === Infinity) return;
    if (exit.kind === 'halt') clock.advanceTo(clock.nextDeadlineNs);
  }
}

async function save(pc: Pc): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await pc.save(codec, async (data) => void parts.push(...data), 'go on');
  return concatBytes(parts);
}

const described = (state: Uint8Array): unknown => openState(source(state), codec).description;

const structuredCloneOf = (state: SavedPc): SavedPc => ({
  ...state,
  processors: state.processors.map((one) => ({ ...one })),
  devices: state.devices.map((one) => ({ ...one })),
});

const different = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) !== 0;

/** Making a machine takes its time where much else runs. */
vi.setConfig({ testTimeout: 120_000 });

describe.each(ACCELERATORS)('a machine restored on $name', (accelerator) => {
  test('tells which pages it asks for, and gets no others', async () => {
    const one = await make(accelerator);
    run(one.pc, 100_000);
    const data = await save(one.pc);
    const state = readSavedPc(source(data), codec);
    const asked: number[] = [];
    const { pc } = await make(accelerator, { restore: { state, identity: 'same', onPage: (page) => asked.push(page) } });
    run(pc, 100_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(new Set(asked).size).toBe(asked.length);
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(state.opened.pages.length);
    run(one.pc, 100_000);
    expect(different(await save(pc), await save(one.pc))).toBe(false);
  });

  test('reads only those parts of its state that it needs, if it is told so', async () => {
    const one = await make(accelerator);
    run(one.pc, 100_000);
    const state = readSavedPc(source(await save(one.pc)), codec);
    let frames = 0;
    const opened = { ...state.opened, readFrame: (number: number) => (frames++, state.opened.readFrame(number)) };
    await make(accelerator, { restore: { state: { ...state, opened }, identity: 'same', onlyAsked: true } });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(frames).toBeLessThan(state.opened.frames.length);
  });
});

describe.each(ACCELERATORS)('a machine saved on $name', (first) => {
  test.each(ACCELERATORS)('and restored on $name goes on as the one that was saved', async (second) => {
    const one = await make(first);
    run(one.pc, 200_001);
    const state = await save(one.pc);
    const other = await make(second, { from: state, epochMs: EPOCH + Math.floor(one.pc.machine.clock.now() / 1e6) });
    const before = one.printed.length;
    run(one.pc, 300_007);
    run(other.pc, 300_007);
    expect(one.printed.length).toBeGreaterThan(before);
    expect(other.printed).toEqual(one.printed.slice(before));
    const [a, b] = [await save(one.pc), await save(other.pc)];
    expect(described(b)).toEqual(described(a));
    expect(different(a, b)).toBe(false);
    expect(different(a, state)).toBe(true);
  });
});

test('a machine that runs is saved between two instructions, and goes on or ends as it is told', async () => {
  const { pc } = await make(INTERPRETER);
  const ended = pc.machine.run();
  const early = await save(pc);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const parts: Uint8Array[] = [];
  await pc.save(codec, async (data) => void parts.push(...data), 'end');
  expect(await ended).toEqual({ kind: 'stopped' });
  const [then, now] = [early, concatBytes(parts)].map((data) => readSavedPc(source(data), codec).clockNs);
  expect(now).toBeGreaterThan(then!);
  await expect(save(pc)).rejects.toMatchObject({ code: 'cancelled' });
});

test('a machine whose state cannot be written goes on', async () => {
  const { pc } = await make(INTERPRETER);
  const ended = pc.machine.run();
  const before = pc.vcpu.executed;
  await expect(pc.save(codec, () => Promise.reject(new Error('disk full')), 'end')).rejects.toThrow('disk full');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(pc.vcpu.executed).toBeGreaterThan(before);
  pc.machine.end({ kind: 'stopped' });
  expect(await ended).toEqual({ kind: 'stopped' });
});

describe('a state is refused by another machine', () => {
  const disk = (sectors: number, identity: string, readOnly = false): BlockBackend => ({
    sectors,
    readOnly,
    read: async () => {},
    write: async () => {},
    flush: async () => {},
    discard: async () => {},
    identity: async () => identity,
  });
  let state: Uint8Array;
  beforeAll(async () => {
    const { pc } = await make(INTERPRETER, { disks: [disk(64, 'Monday')] });
    state = await save(pc);
  });

  test.each<[string, Partial<PcOptions> & { readonly model?: string }, string]>([
    ['memory', { memoryBytes: 8 << 20, disks: [disk(64, 'Monday')] }, 'saved with 4 MiB of memory, this one has 8 MiB: leave --memory out'],
    ['CPU model', { model: 'x86-64-v2', disks: [disk(64, 'Monday')] }, 'saved with CPU model max, this one has x86-64-v2 (without avx, '],
    ['number of disks', { disks: [] }, 'saved with 1 disk, this one has 0: give the same disks'],
    ['disk size', { disks: [disk(65, 'Monday')] }, 'disk 1: it had 64 sectors when the machine was saved, and has 65'],
    ['disk access', { disks: [disk(64, 'Monday', true)] }, 'disk 1: it was writable, and is read-only now: leave ,ro out'],
    ['disk contents', { disks: [disk(64, 'Tuesday')] }, 'disk 1: it has changed since the machine was saved (then Monday, now Tuesday)'],
    ['device', { debugExit: true, disks: [disk(64, 'Monday')] }, 'saved with other devices (it had no pc-testdev)'],
  ])('of another %s', async (_what, options, message) => {
    await expect(make(INTERPRETER, { ...options, from: state })).rejects.toMatchObject({
      code: 'bad-state',
      message: expect.stringContaining(`machine.state: `) as string,
    });
    await expect(make(INTERPRETER, { ...options, from: state })).rejects.toThrow(message);
  });

  test('when it has several processors and there is no KVM', async () => {
    const saved = readSavedPc(source(state), codec);
    const two = { ...saved, processors: [...saved.processors, ...saved.processors] };
    const made = make(INTERPRETER, { disks: [disk(64, 'Monday')], restore: { state: two, identity: 'same' } });
    await expect(made).rejects.toMatchObject({
      code: 'bad-state',
      message: 'machine.state: the machine has 2 processors, and interpreter has one: go on under KVM (--accel kvm)',
    });
  });

  test('when its first processor has not started', async () => {
    const saved = readSavedPc(source(state), codec);
    const [{ version, data }] = saved.processors as [{ version: number; data: object }];
    const waiting = { ...saved, processors: [{ version, data: { ...data, startup: 1 } }] };
    const made = make(INTERPRETER, { disks: [disk(64, 'Monday')], restore: { state: waiting, identity: 'same' } });
    await expect(made).rejects.toMatchObject({ code: 'bad-state', message: expect.stringContaining('has not started') as string });
  });

  test('but not by the one that it was', async () => {
    const { pc } = await make(INTERPRETER, { disks: [disk(64, 'Monday')], from: state });
    expect(pc.vcpu.registers().rip).toBeGreaterThan(0n);
  });
});

test('guest time goes on where it was, and the wall clock is the host’s', async () => {
  const { pc } = await make(INTERPRETER);
  run(pc, 5_000_000);
  const data = await save(pc);
  expect(readSavedPc(source(data), codec)).toMatchObject({ clockNs: 5_000_000, wallMs: EPOCH + 5 });
  const { clock } = (await make(INTERPRETER, { from: data, epochMs: EPOCH + 3_600_000 })).pc.machine;
  expect([clock.now(), clock.epochMs]).toEqual([5_000_000, EPOCH + 3_600_000 - 5]);
});

test('each machine that goes on from a state has an identity of its own, unless it is the very machine', async () => {
  const random = seededRandom(1);
  const entropy = { fill: (into: Uint8Array) => into.forEach((_, n) => (into[n] = random(256))) };
  const { pc } = await make(INTERPRETER, { entropy });
  // The guest listens to general-purpose events.
  pc.power.gpe0.write(2, 2, 1);
  const data = await save(pc);
  const state = readSavedPc(source(data), codec);
  const identityOf = async (identity: 'new' | 'same'): Promise<[string, number]> => {
    const { pc: restored } = await make(INTERPRETER, { entropy, restore: { state, identity } });
    const again = openState(source(await save(restored)), codec);
    const entry = again.pages.indexOf(0xef);
    const content = again.contents[entry]!;
    const page = again.readFrame(content >> 4).subarray((content & 15) * 4096, (content & 15) * 4096 + 16);
    return [page.join(), restored.power.gpe0.read(0, 2)];
  };
  const [one, other, same, again] = [await identityOf('new'), await identityOf('new'), await identityOf('same'), await identityOf('same')];
  expect([one[1], other[1], same[1]]).toEqual([1, 1, 0]);
  expect(new Set([one[0], other[0], same[0]]).size).toBe(3);
  expect(again).toEqual(same);
});

/** Changes a value somewhere in plain data, keeping its kind more often than not. */
function disturbed(data: unknown, random: (below: number) => number): unknown {
  if (typeof data === 'number')
    return [0, 1, data + 1, data ^ (1 << random(31)), 255, 0xffff, 0xffff_ffff, 2 ** 53 - 1, -1, 0.5, 'infinity'][random(11)];
  if (typeof data === 'bigint') return [0n, 1n, data ^ (1n << BigInt(random(64))), (1n << 64n) - 1n, 1n << 63n, -1n][random(6)];
  if (typeof data === 'boolean') return !data;
  if (typeof data === 'string') return random(4) === 0 ? '' : data;
  if (data instanceof Uint8Array) {
    const copy = data.slice(0, data.length - (random(8) === 0 ? 1 : 0));
    for (let n = 0; n < 1 + random(8) && copy.length > 0; n++) copy[random(copy.length)] = random(256);
    return copy;
  }
  if (typeof data !== 'object' || data === null) return random(2) === 0 ? {} : [];
  const entries = Object.entries(data);
  if (entries.length === 0) return Array.isArray(data) ? [0xffff] : data;
  const [name, value] = entries[random(entries.length)]!;
  if (Array.isArray(data)) return data.map((item, n) => (n === Number(name) ? disturbed(value, random) : (item as unknown)));
  return { ...data, [name]: disturbed(value, random) };
}

test('a forged state is refused or makes a machine that runs, and never anything else', async () => {
  const { pc } = await make(INTERPRETER, { ports: [{ name: 'a', write() {} }], console: { port: { write() {} }, cols: 80, rows: 25 } });
  run(pc, 100_000);
  const genuine = readSavedPc(source(await save(pc)), codec);
  const random = seededRandom(11);
  const outcomes = { refused: 0, ran: 0 };
  const variants = new Variants();
  const handlers = new WebAssembly.Module(buildInterpreter(variants));
  for (let round = 0; round < FORGERIES; round++) {
    const part = random(4);
    const state: SavedPc = structuredCloneOf(genuine);
    if (part === 0) state.processors[0]!.data = disturbed(state.processors[0]!.data, random);
    else {
      const device = state.devices[random(state.devices.length)]!;
      for (let n = 0; n < part; n++) device.data = disturbed(device.data, random);
    }
    try {
      const { pc: forged } = await make(INTERPRETER, {
        ports: [{ name: 'a', write() {} }],
        console: { port: { write() {} }, cols: 80, rows: 25 },
        restore: { state, identity: 'new' },
        accelerator: interpreter(runtime, 'max', { handlers }),
      });
      run(forged, 20_000, 200);
      outcomes.ran++;
    } catch (error) {
      expect(error, `round ${round}`).toMatchObject({ code: 'bad-state', message: expect.stringContaining('machine.state: ') as string });
      outcomes.refused++;
    }
  }
  expect(outcomes.refused).toBeGreaterThan(FORGERIES / 20);
  expect(outcomes.ran).toBeGreaterThan(FORGERIES / 20);
});
