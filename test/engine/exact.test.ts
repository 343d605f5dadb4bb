/** A program's course does not depend on how it is cut into slices, nor on a save and restore in between. */
import { beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../../src/machine/testing/random.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE, DATA, PAGE, STACK, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const PROGRAMS = 12;
const HANDLERS = CODE + 0x3000;
const IRETQ = [0x48, 0xcf];
const MMIO = 0x200000;

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let runtime: WebAssembly.Module;
  let bench: Bench;
  /** State right after construction, and the memory then. */
  let pristine: unknown;
  let image: Uint8Array;

  beforeAll(async () => {
    runtime = await compileRuntime();
    bench = new Bench(make(runtime));
    bench.map(0x200000n, 0xd000_0000, 0x3n); // a device
    bench.mmio.map(0xd000_0000, 0x1000, 'counter', {
      read: () => bench.cpu.executed >>> 0,
      write: () => bench.cpu.kick(),
    });
    bench.gate(0x40, HANDLERS);
    bench.gate(6, HANDLERS + 0x40);
    bench.gate(0x80, HANDLERS + 0x80);
    bench.gate(0, HANDLERS + 0xc0);
    bench.poke(HANDLERS, [0x49, 0xff, 0xc7, ...IRETQ]); // inc r15
    bench.poke(HANDLERS + 0x40, [0x48, 0x83, 0x04, 0x24, 0x02, ...IRETQ]); // UD2 has two bytes
    bench.poke(HANDLERS + 0x80, [0x49, 0xff, 0xc6, 0xfb, 0x90, ...IRETQ]); // inc r14; sti; nop
    bench.poke(HANDLERS + 0xc0, [0x48, 0x83, 0x04, 0x24, 0x03, ...IRETQ]); // DIV of a 64-bit register has three
    pristine = bench.cpu.save();
    image = bench.memory.view(0, 0x80000)!.slice();
  }, 300_000);

  /** A program of straight pieces, loops, calls, string instructions, faults and self-modification, ending in HLT. */
  function program(seed: number): number[] {
    const random = seededRandom(seed);
    const code: number[] = [];
    const put = (...bytes: number[]): void => void code.push(...bytes);
    const reg = (): number => [0, 2, 3, 5][random(4)]!; // rax rdx rbx rbp
    const simple = (): void => {
      switch (random(9)) {
        case 0:
          return put(0x48, [0x01, 0x29, 0x31, 0x11, 0x19][random(5)]!, 0xc0 | (reg() << 3) | reg());
        case 1:
          return put(0x48, 0xc7, 0xc0 | reg(), ...le(random(2 ** 31), 4));
        case 2:
          return put(0x48, 0x89, 0x80 | (reg() << 3) | 7, ...le(random(3 * PAGE), 4)); // mov [rdi+d], r
        case 3:
          return put(0x48, 0x8b, 0x80 | (reg() << 3) | 7, ...le(random(3 * PAGE), 4));
        case 4:
          return put(0x50 | reg(), 0x58 | reg());
        case 5:
          return put(0x9c, 0x58 | reg());
        case 6:
          return put(0x48, 0xd3, 0xc0 | (random(8) << 3) | reg());
        case 7:
          return put(0x48, 0x0f, 0xaf, 0xc0 | (reg() << 3) | reg());
        default:
          return put(0x66, 0x0f, 0x6f, 0x87, ...le(random(0x100) * 16, 4)); // movdqa xmm0, [rdi+d]
      }
    };
    put(0x48, 0xc7, 0xc7, ...le(DATA, 4)); // mov rdi, DATA
    for (let piece = 0; piece < 30; piece++) {
      switch (random(11)) {
        case 0: {
          // mov ecx, n; body; dec ecx; jnz
          put(0xb9, ...le(1 + random(100), 4));
          const start = code.length;
          for (let n = random(6); n >= 0; n--) simple();
          put(0xff, 0xc9, 0x0f, 0x85, ...le(start - (code.length + 6 + 2 - 2), 4));
          code.splice(-4, 4, ...le(start - code.length, 4));
          break;
        }
        case 1: {
          // call over a function
          const body: number[] = [0x48, 0xff, 0xc3, 0xc3];
          put(0xeb, body.length);
          const at = code.length;
          put(...body);
          put(0xe8, ...le(at - (code.length + 5), 4));
          break;
        }
        case 2: // rep movsb / stosq between pages, both registers restored
          put(0x57, 0x48, 0x89, 0xfe, 0x48, 0x81, 0xc6, ...le(random(0x800), 4), 0xb9, ...le(random(0x1800), 4), 0xf3, 0xa4, 0x5f);
          break;
        case 3:
          put(0x57, 0xb9, ...le(random(0x300), 4), 0xf3, 0x48, 0xab, 0x5f);
          break;
        case 4:
          put(0x0f, 0x0b);
          break;
        case 5:
          put(0xcd, 0x80);
          break;
        case 6: // mov esi, 0; div rsi
          put(0xbe, ...le(0, 4), 0x48, 0xf7, 0xf6);
          break;
        case 7: // the device: mov eax, [MMIO]; mov [MMIO], eax
          put(0x8b, 0x04, 0x25, ...le(MMIO, 4), 0x89, 0x04, 0x25, ...le(MMIO, 4));
          break;
        case 8: // the immediate of the instruction after the store changes
          put(0xc6, 0x05, ...le(1, 4), random(256), 0xb8, ...le(random(2 ** 31), 4));
          break;
        case 9:
          put(random(2) ? 0xfa : 0xfb);
          break;
        default:
          for (let n = random(80); n >= 0; n--) simple();
      }
    }
    put(0xf4);
    return code;
  }

  interface Outcome {
    readonly registers: readonly bigint[];
    readonly executed: number;
    readonly rip: bigint;
    readonly flags: number;
    readonly memory: string;
  }

  function hash(bytes: Uint8Array): string {
    let h = 0x811c9dc5;
    for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193);
    return (h >>> 0).toString(16);
  }

  function course(code: readonly number[], slice: number, interrupts: readonly number[], disturb?: () => void): Outcome {
    const { cpu, memory } = bench;
    memory.view(0, image.length)!.set(image);
    memory.written(0, image.length);
    cpu.restore(pristine);
    bench.waiting.clear();
    cpu.setRegisters({ rflags: 0x202n });
    bench.load(code);
    const start = cpu.executed;
    const pending = [...interrupts];
    for (;;) {
      const done = cpu.executed - start;
      while (pending.length > 0 && pending[0]! <= done) {
        pending.shift();
        bench.interrupt(0x40);
      }
      const exit = cpu.run(Math.min(slice, (pending[0] ?? Infinity) - done));
      disturb?.();
      if (exit.kind !== 'budget' || cpu.executed - start > 500_000) break;
    }
    const xmm = [0, 8].map((at) => cpu.state.u64(L.YMM + at));
    return {
      registers: [...cpu.registers().gpr, ...xmm],
      executed: cpu.executed - start,
      rip: cpu.ip,
      flags: cpu.rflags,
      memory: `${hash(memory.view(CODE, 0x10000)!)} ${hash(memory.view(DATA, 0x8000)!)} ${hash(memory.view(STACK, PAGE)!)}`,
    };
  }

  test('slices of any length lead to the same state after the same number of instructions', { timeout: 300_000 }, () => {
    for (let seed = 1; seed <= PROGRAMS; seed++) {
      const code = program(seed);
      const whole = course(code, Infinity, []);
      for (const slice of [1, 7, 64, 1000]) expect({ seed, slice, ...course(code, slice, []) }).toEqual({ seed, slice, ...whole });
    }
  });

  test('interrupts at given instruction counts arrive at the same place, however execution is sliced', { timeout: 300_000 }, () => {
    for (let seed = 100; seed < 100 + PROGRAMS; seed++) {
      const code = program(seed);
      const random = seededRandom(seed);
      let at = 0;
      const interrupts = Array.from({ length: 12 }, () => (at += 1 + random(400)));
      const whole = course(code, Infinity, interrupts);
      for (const slice of [1, 7, 64, 1000]) expect({ seed, slice, ...course(code, slice, interrupts) }).toEqual({ seed, slice, ...whole });
    }
  });

  test('a processor that is saved, disturbed and restored at every slice goes on as if nothing had happened', { timeout: 300_000 }, () => {
    const { cpu } = bench;
    const saveAndRestore = (): void => {
      const saved = cpu.save();
      const halted = cpu.halted;
      cpu.reset();
      cpu.setRegisters({ gpr: Array.from({ length: 16 }, () => 0x123456789n), rflags: 0xed7n });
      cpu.restore(structuredClone(saved));
      expect(cpu.halted).toBe(halted);
    };
    for (let seed = 200; seed < 204; seed++) {
      const code = program(seed);
      const interrupts = [50, 51, 400];
      const whole = course(code, Infinity, interrupts);
      expect({ seed, ...course(code, 997, interrupts, saveAndRestore) }).toEqual({ seed, ...whole });
      const short = [...code.slice(0, 60), 0xf4];
      expect({ seed, ...course(short, 1, [], saveAndRestore) }).toEqual({ seed, ...course(short, Infinity, []) });
    }
  });
});
