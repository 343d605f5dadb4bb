/** SYSENTER, SYSEXIT, NMI, BOUND, XSAVES and XRSTORS, from the manual: user mode of the host cannot judge them. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BR, DB, GP, NMI, UD } from '../../src/x86/faults.ts';
import { IF, TF } from '../../src/x86/flags.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE, CODE64, CODE64_USER, DATA, DATA0, KERNEL_STACK, P, RW, STACK, STUBS, US, le } from './bench.ts';
import { VM, enterProtected, enterUser32, enterVirtual } from './legacy.ts';
import { compileRuntime } from './runtime.ts';

const HLT = 0xf4;
const NOP = 0x90;
const SYSENTER = [0x0f, 0x34];
const SYSEXIT = [0x0f, 0x35];
const SYSEXITQ = [0x48, ...SYSEXIT];
const IRETQ = [0x48, 0xcf];
const INT3 = 0xcc;
const SYSENTER_CS = 0x174;
const ENTRY = CODE + 0x800;
const NON_CANONICAL = 1n << 47n;
const [RAX, RCX, RDX, RSP, RDI] = [0, 1, 2, 4, 7];

const wrmsr = (msr: number, value: number): number[] => [0xb9, ...le(msr, 4), 0xb8, ...le(value, 4), 0x31, 0xd2, 0x0f, 0x30];
const targets = [...wrmsr(SYSENTER_CS, CODE64), ...wrmsr(SYSENTER_CS + 1, KERNEL_STACK), ...wrmsr(SYSENTER_CS + 2, ENTRY)];

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let runtime: WebAssembly.Module;
  let bench: Bench;
  beforeAll(async () => {
    runtime = await compileRuntime();
    bench = new Bench(make(runtime));
  }, 300_000);
  beforeEach(() => void bench.renew());

  /** Sets the MSRs, then goes on in user mode at CODE. */
  function user(code: readonly number[], flags = 2n): void {
    bench.load([...targets, HLT]);
    bench.untilHalt();
    bench.map(BigInt(CODE), CODE, P | RW | US);
    bench.map(BigInt(STACK), STACK, P | RW | US);
    bench.poke(ENTRY, [HLT]);
    bench.enterUser(CODE, flags);
    bench.load(code);
  }
  const segments = () => bench.cpu.registers().segments;

  test('SYSENTER goes to the kernel with flat segments and without interrupts', () => {
    user(SYSENTER, BigInt(IF | 0x3002));
    expect(bench.untilHalt()).toBe(ENTRY + 1);
    expect(bench.cpu.cpl).toBe(0);
    expect(bench.reg(RSP)).toBe(BigInt(KERNEL_STACK));
    expect(bench.cpu.rflags & (IF | 0x3000)).toBe(0x3000);
    expect(segments().cs).toEqual({ selector: CODE64, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b });
    expect(segments().ss).toEqual({ selector: DATA0, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 });
  });

  test('SYSENTER without a code segment in its MSR is #GP(0)', () => {
    bench.load([...wrmsr(SYSENTER_CS, 3), ...SYSENTER]);
    expect(bench.untilVector()).toBe(GP);
    expect(bench.frame(0)).toBe(0n);
  });

  test('SYSEXIT returns to 32-bit code, with REX.W to 64-bit code, of level 3', () => {
    bench.map(BigInt(CODE), CODE, P | RW | US);
    const exit = (code: readonly number[]): void => {
      bench.load([...targets, 0xba, ...le(ENTRY, 4), 0xb9, ...le(STACK, 4), ...code]);
      bench.poke(ENTRY, [HLT]);
      expect(bench.untilVector()).toBe(GP); // HLT of user code
      expect(bench.frame(1)).toBe(BigInt(ENTRY));
      expect(bench.frame(4)).toBe(BigInt(STACK));
    };
    exit(SYSEXITQ);
    expect([bench.frame(2), bench.frame(5)]).toEqual([BigInt(CODE64 + 32 + 3), BigInt(CODE64 + 40 + 3)]);
    exit(SYSEXIT);
    expect([bench.frame(2), bench.frame(5)]).toEqual([BigInt(CODE64 + 16 + 3), BigInt(CODE64 + 24 + 3)]);
  });

  test('SYSEXIT is #GP(0) in user mode, and when it would leave canonical addresses', () => {
    user(SYSEXITQ);
    expect(bench.untilVector()).toBe(GP);
    for (const register of [RCX, RDX]) {
      bench.renew();
      bench.load([...targets, HLT]);
      bench.untilHalt();
      bench.setReg(register, NON_CANONICAL);
      bench.load(SYSEXITQ);
      expect(bench.untilVector()).toBe(GP);
      expect(bench.cpu.cpl).toBe(0);
    }
  });

  test('SYSENTER from protected and virtual-8086 mode, and SYSEXIT back', () => {
    for (const enter of [() => enterUser32(bench, IF), () => enterVirtual(bench, CODE, DATA, IF)]) {
      bench.renew();
      enterProtected(bench);
      bench.load([...targets, HLT]);
      bench.untilHalt();
      bench.poke(ENTRY, [0xba, ...le(CODE + 0x100, 4), 0xb9, ...le(STACK, 4), ...SYSEXIT]);
      bench.poke(CODE + 0x100, [HLT]);
      enter();
      bench.load(SYSENTER);
      bench.cpu.next = BigInt(CODE);
      expect(bench.untilVector()).toBe(GP);
      const frame = Number(bench.reg(RSP));
      const word = (n: number): number => Number(bench.peek64(frame + 4 * n) & 0xffff_ffffn);
      expect([word(1), word(2), word(4), word(5)]).toEqual([CODE + 0x100, CODE64 + 16 + 3, STACK, CODE64 + 24 + 3]);
      expect(word(3) & (VM | IF)).toBe(0);
    }
  });

  test('an NMI holds off the next one until IRET, also an IRET that ends another handler', () => {
    const handler = CODE + 0x400;
    bench.gate(NMI, handler);
    bench.gate(3, handler + 0x40);
    bench.poke(handler, [0x48, 0xff, 0xc0, NOP, NOP, HLT, NOP, ...IRETQ]); // inc rax
    bench.load([NOP, NOP, HLT]);
    bench.cpu.nmi();
    expect(bench.untilHalt()).toBe(handler + 6);
    bench.cpu.nmi(); // waits, and does not end the halt
    expect(bench.cpu.run(100).kind).toBe('halt');
    expect(bench.reg(RAX)).toBe(1n);
    bench.cpu.halted = false;
    expect(bench.untilHalt()).toBe(handler + 6); // IRET, and at once the second
    expect(bench.reg(RAX)).toBe(2n);
    // The IRET of a breakpoint's handler inside the NMI handler opens NMIs, too.
    bench.poke(handler + 6, [INT3, NOP, HLT]);
    bench.poke(handler + 0x40, IRETQ);
    bench.cpu.nmi();
    bench.cpu.halted = false;
    expect(bench.untilHalt()).toBe(handler + 6);
    expect(bench.reg(RAX)).toBe(3n);
  });

  test('an NMI comes whatever IF says, and ends a halt', () => {
    bench.load([HLT]);
    expect(bench.untilVector()).toBeUndefined();
    bench.cpu.nmi();
    expect(bench.untilHalt()).toBe(STUBS + NMI + 1);
  });

  test('BOUND compares signed numbers with both bounds included', () => {
    enterProtected(bench);
    bench.poke(DATA, [...le(-5 >>> 0, 4), ...le(7, 4)]);
    const bound = (value: number): number | undefined => {
      bench.setReg(RAX, BigInt(value >>> 0));
      bench.load([0x62, 0x05, ...le(DATA, 4), HLT]);
      return bench.untilVector();
    };
    expect([-6, -5, 0, 7, 8].map(bound)).toEqual([BR, undefined, undefined, undefined, BR]);
    expect(Number(bench.peek64(Number(bench.reg(RSP))) & 0xffff_ffffn)).toBe(CODE); // a fault: at the instruction
  });

  describe('XSAVES and XRSTORS', () => {
    const XSAVES = [0x0f, 0xc7, 0x2f]; // [rdi]
    const XRSTORS = [0x0f, 0xc7, 0x1f];
    const AREA = DATA + 0x400;
    const COMPACTED = 1n << 63n;
    const movq = [0x66, 0x48, 0x0f, 0x6e, 0xc6]; // movq xmm0, rsi
    const pxor = [0x66, 0x0f, 0xef, 0xc0];

    beforeEach(() => {
      bench.cpu.setRegisters({ cr4: bench.cpu.registers().cr4 | (1n << 18n) });
      bench.load([0x31, 0xc9, 0x31, 0xd2, 0xb8, ...le(7, 4), 0x0f, 0x01, 0xd1, HLT]); // xsetbv
      bench.untilHalt();
      bench.setReg(RDI, BigInt(AREA));
      bench.setReg(6, 0x1122_3344_5566_7788n);
    });
    const run = (...code: readonly (readonly number[])[]): number | undefined => {
      bench.load([...code.flat(), HLT]);
      return bench.untilVector();
    };

    test('save in the compacted format and restore from it', () => {
      expect(run(movq, XSAVES, pxor)).toBeUndefined();
      expect(bench.peek64(AREA + 520)).toBe(COMPACTED | 7n);
      expect(bench.peek64(AREA + 512) & 2n).toBe(2n);
      expect(bench.peek64(AREA + 160)).toBe(0x1122_3344_5566_7788n);
      expect(run(XRSTORS, [0x66, 0x48, 0x0f, 0x7e, 0xc3])).toBeUndefined(); // movq rbx, xmm0
      expect(bench.reg(3)).toBe(0x1122_3344_5566_7788n);
    });

    test('what is in its initial state is not written, and restored as such', () => {
      expect(run(pxor, XSAVES)).toBeUndefined();
      expect(bench.peek64(AREA + 512) & 4n).toBe(0n);
      bench.poke64(AREA + 512, 0n);
      expect(run(movq, XRSTORS, [0x66, 0x48, 0x0f, 0x7e, 0xc3])).toBeUndefined();
      expect(bench.reg(3)).toBe(0n);
    });

    test('XRSTORS refuses the standard format, components that are not enabled, and header bytes that are reserved', () => {
      const cases: readonly (readonly [number, bigint])[] = [
        [520, 0n],
        [520, COMPACTED | 8n],
        [512, 8n],
        [528, 1n],
        [568, 1n],
      ];
      for (const [at, value] of cases) {
        expect(run(XSAVES)).toBeUndefined();
        bench.poke64(AREA + at, value);
        expect(run(XRSTORS), `offset ${at}`).toBe(GP);
        bench.poke64(AREA + at, 0n);
      }
    });

    test('they are for the kernel only, and want an area at a multiple of 64', () => {
      bench.setReg(RDI, BigInt(AREA + 16));
      expect(run(XSAVES)).toBe(GP);
      expect(run(XRSTORS)).toBe(GP);
      bench.map(BigInt(CODE), CODE, P | RW | US);
      bench.map(BigInt(DATA), DATA, P | RW | US);
      for (const code of [XSAVES, XRSTORS]) {
        bench.cpu.setRegisters({ gpr: bench.cpu.registers().gpr.with(RDI, BigInt(AREA)) });
        bench.enterUser(CODE);
        expect(run(code)).toBe(GP);
        expect(bench.frame(2)).toBe(BigInt(CODE64_USER));
      }
    });

    test('without CR4.OSXSAVE they are #UD', () => {
      bench.cpu.setRegisters({ cr4: bench.cpu.registers().cr4 & ~(1n << 18n) });
      expect(run(XSAVES)).toBe(UD);
      expect(run(XRSTORS)).toBe(UD);
    });
  });

  test('SYSENTER with single step: the trap comes at the entry', () => {
    user(SYSENTER, BigInt(TF | 2));
    bench.poke(ENTRY, [HLT]);
    expect(bench.untilVector()).toBe(DB);
  });
});
