/** What the lockstep and reading have found, cut down: each once went wrong in compiled code. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ACCELERATORS, COMPILING_LATER } from '../accelerators.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { Bench, CODE, P, PAGE, RW, le } from '../engine/bench.ts';
import { compileRuntime } from '../engine/runtime.ts';

const HLT = 0xf4;

describe.each([...ACCELERATORS, COMPILING_LATER])('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
  });

  test('branches to the next instruction, one after the other, are compiled in no time', () => {
    // mov ecx,100; L: 50 times jz +0; inc eax; dec ecx; jnz L; hlt
    const body = [...Array.from({ length: 50 }, () => [0x74, 0x00]).flat(), 0xff, 0xc0, 0xff, 0xc9];
    bench.load([0xb9, ...le(100, 4), ...body, 0x0f, 0x85, ...le(-(body.length + 6) >>> 0, 4), HLT]);
    bench.untilHalt();
    expect(bench.reg(0)).toBe(100n);
  });

  test.each([
    ['frstor', [0xdd, 0x27], L.X87],
    ['fxrstor', [0x0f, 0xae, 0x0f], L.YMM],
  ])('a device that %s reads is told how many instructions have run', (_, instruction, at) => {
    bench.map(0x20_0000n, 0xd000_0000, P | RW);
    // Readings that the instruction takes without fault: MXCSR and its mask are 0.
    bench.mmio.map(0xd000_0000, PAGE, 'counter', { read: (offset) => (offset < 28 ? 0 : bench.cpu.executed >>> 0), write() {} });
    // mov ecx,1000; L: dec ecx; jnz L; mov edi,device; the instruction
    bench.load([0xb9, ...le(1000, 4), 0xff, 0xc9, 0x75, 0xfc, 0xbf, ...le(0x20_0000, 4), ...instruction, HLT]);
    const { executed } = bench.cpu;
    bench.untilHalt();
    expect(bench.cpu.state.u32(at) - executed).toBe(2002);
  });

  test('a jump to where no page is changes CR2 only when the fetch faults, not when the budget ends before', () => {
    // mov edi,7a000h; jmp rdi
    bench.map(0x7a000n, 0, 0n);
    bench.load([0xbf, ...le(0x7a000, 4), 0xff, 0xe7]);
    bench.cpu.setRegisters({ cr2: 0x1234n });
    expect(bench.cpu.run(2).kind).toBe('budget');
    expect([bench.cpu.next, bench.cpu.state.u64(L.CR2)]).toEqual([0x7a000n, 0x1234n]);
    expect(bench.untilVector()).toBe(14);
    expect(bench.cpu.state.u64(L.CR2)).toBe(0x7a000n);
  });

  test('STI holds interrupts off for one instruction, also where it is the last of a budget in compiled code', () => {
    // 70 times inc rax; sti; hlt
    const code = [...Array.from({ length: 70 }, () => [0x48, 0xff, 0xc0]).flat(), 0xfb, HLT];
    bench.load([0xeb, 0x00, ...code]);
    for (let turn = 0; turn < 8; turn++) {
      bench.cpu.halted = false;
      bench.cpu.setRegisters({ rflags: 2n, rip: BigInt(CODE) });
      bench.untilHalt();
    }
    bench.cpu.halted = false;
    bench.cpu.ip = BigInt(CODE + 2);
    bench.cpu.setRegisters({ rflags: 2n });
    expect(bench.cpu.run(71).kind).toBe('budget');
    expect(bench.cpu.next).toBe(BigInt(CODE + 2 + code.length - 1));
    bench.interrupt(0x40);
    // HLT comes first: the interrupt finds the place behind it.
    expect(bench.untilVector()).toBe(0x40);
    expect(bench.frame(0)).toBe(BigInt(CODE + 2 + code.length));
  });
});
