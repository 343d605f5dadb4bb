/** Who watches the compiler is told what it makes and takes away, and profilers see the names that are given. */
import { Session } from 'node:inspector';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { CompilerEvent } from '../../src/x86/compiler/observer.ts';
import { jit, type JitOptions } from '../../src/x86/accelerator.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { Bench, CODE, DATA, P, PAGE, RW, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

/** Linear address of the page at CODE, another one. */
const THERE = 0x70_0000;
const HLT = 0xf4;
const TURNS = 200;

let runtime: WebAssembly.Module;
let make: (options?: JitOptions) => Bench;
let bench: Bench;
let events: CompilerEvent[];
let names: Map<bigint, string>;

beforeAll(async () => {
  runtime = await compileRuntime();
}, 300_000);

beforeEach(() => {
  events = [];
  names = new Map();
  const observer = { onEvent: (event: CompilerEvent) => void events.push(event), nameOf: (linear: bigint) => names.get(linear) };
  make = (options) => {
    const made = new Bench(jit(runtime, 'max', { threshold: 5, batch: 1, observer, ...options }));
    made.map(BigInt(THERE), CODE, P | RW);
    return made;
  };
  bench = make();
});

/** `dec ecx; jnz` back over what comes before. */
const turn = (body: readonly number[]): number[] => [...body, 0xff, 0xc9, 0x75, 0x100 - (body.length + 4)];

function runThere(code: readonly number[], turns = TURNS): void {
  bench.load([0xb9, ...le(turns, 4), ...code]); // mov ecx,turns
  bench.cpu.ip = BigInt(THERE);
  bench.untilHalt(turns * (code.length + 10));
}

const place = { linear: BigInt(THERE + 5), physical: CODE + 5 };

test('a module imports no more functions than its regions call, and leaves by one signature', () => {
  const { Module } = WebAssembly;
  const made: WebAssembly.Module[] = [];
  WebAssembly.Module = new Proxy(Module, {
    construct(target, args: [BufferSource]) {
      const module = new target(...args);
      made.push(module);
      return module;
    },
  });
  try {
    runThere([...turn([0x01, 0xc8]), HLT]);
  } finally {
    WebAssembly.Module = Module;
  }
  // V8 compiles something for each signature.
  const imported = made.map((module) => Module.imports(module).map(({ name }) => name));
  expect(imported).toEqual([['leaveAt', 'leaveTo', 'leaveHere', 'leaveUnbegun', 'memory']]);
});

test('a region is told with its place, size and module, and its module before it', () => {
  runThere([...turn([0x01, 0xc8]), HLT]);
  expect(events).toEqual([
    { kind: 'module', number: 1, regions: 1, bytes: expect.any(Number), emitMs: expect.any(Number), moduleMs: expect.any(Number) },
    {
      kind: 'region',
      place,
      name: (THERE + 5).toString(16),
      module: 1,
      handler: expect.any(Number),
      entries: 1,
      blocks: 1,
      steps: 3,
      bytes: expect.any(Number),
    },
  ]);
  const [module, region] = events as { bytes: number }[];
  expect(region!.bytes).toBeGreaterThan(50);
  expect(module!.bytes).toBeGreaterThan(region!.bytes);
});

test('a region whose code is written is told to be dropped, with the handler that it had', () => {
  runThere([...turn([0x01, 0xc8]), HLT]);
  const { handler } = events.find((event) => event.kind === 'region')!;
  bench.poke(CODE + 6, [0xd0]);
  bench.cpu.run(0);
  expect(events.at(-1)).toEqual({ kind: 'drop', place, handler, reason: 'changed' });
  expect(bench.cpu.counts.compiler).toMatchObject({ regions: 1, dropped: 1 });
});

test('everything is told to be dropped when the arena is emptied', () => {
  runThere([...turn([0x01, 0xc8]), HLT]);
  bench.cpu.engine.resetArena();
  expect(events.at(-1)).toMatchObject({ kind: 'drop', place, reason: 'arena' });
});

test('regions are told to make room for another when there is too much compiled code', () => {
  bench = make({ capacity: 1 });
  runThere([...turn([0x01, 0xc8]), HLT]);
  bench.load([0xb9, ...le(TURNS, 4), ...turn([0x29, 0xc8]), HLT], CODE + PAGE);
  bench.untilHalt();
  expect(events.map((event) => ('reason' in event ? event.reason : event.kind))).toEqual(['module', 'region', 'room', 'module', 'region']);
});

test('code that keeps changing is told to be put off', () => {
  for (let n = 0; n < 6; n++) runThere([...turn([0x01, 0xc8]), HLT]);
  expect(events.filter(({ kind }) => kind === 'refuse')).toContainEqual({ kind: 'refuse', linear: place.linear, reason: 'restless' });
});

test('a hot place that only the interpreter can begin is told once', () => {
  runThere([...turn([0xe4, 0x80]), HLT]); // in al,0x80
  expect(events.filter(({ kind }) => kind === 'refuse')).toEqual([{ kind: 'refuse', linear: place.linear, reason: 'interpreted' }]);
});

test('a region of as many of the largest instructions as fit has room where code is built', () => {
  const { state } = bench.cpu;
  state.setU64(L.CR4, state.u64(L.CR4) | 0x40000n);
  state.setU64(L.XCR0, 7n);
  bench.cpu.updateMode();
  const dots = Array.from({ length: 298 }, () => [0xc4, 0xe3, 0x71, 0x40, 0x00, 0xf1]).flat(); // vdpps xmm0,xmm1,[rax],0xf1
  runThere([0x48, 0xb8, ...le(DATA, 8), ...dots, 0xff, 0xc9, 0x0f, 0x85, ...le(-(dots.length + 8), 4), HLT]);
  expect(events.filter(({ kind }) => kind === 'refuse')).toEqual([]);
  expect(events).toContainEqual(expect.objectContaining({ kind: 'region', steps: 300 }));
});

test('a profiler sees regions under the given name, else their linear address', () => {
  expect(profiled(`guest ${(THERE + 5).toString(16)}`)).toBe(true);
  names.set(BigInt(THERE + 5), 'memcpy+0x10');
  expect(profiled('guest memcpy+0x10')).toBe(true);
});

/** Whether V8's profiler sees a function of this name while the loop runs for long. */
function profiled(name: string): boolean {
  const session = new Session();
  session.connect();
  const seen = new Set<string>();
  try {
    session.post('Profiler.enable');
    for (let attempt = 0; attempt < 10 && !seen.has(name); attempt++) {
      session.post('Profiler.start');
      runThere([...turn([0x01, 0xc8]), HLT], 20_000_000);
      // In the same process, the answer comes before `post` returns.
      session.post('Profiler.stop', (_, { profile }) => profile.nodes.forEach(({ callFrame }) => seen.add(callFrame.functionName)));
    }
  } finally {
    session.disconnect();
  }
  return seen.has(name);
}
