/** Virtual-8086 mode extensions and protected-mode virtual interrupts. SDM vol. 3, 21.3 and 21.4; vol. 2, CLI, STI, PUSHF, POPF. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GP } from '../../src/x86/faults.ts';
import { IF, NT, TF, VIF, VIP } from '../../src/x86/flags.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE, DATA, KERNEL_STACK } from './bench.ts';
import { IOPL, VM, enterProtected, enterUser32, enterVirtual } from './legacy.ts';
import { compileRuntime } from './runtime.ts';

const CR4_VME = 1n;
const CR4_PVI = 2n;
const CLI = 0xfa;
const STI = 0xfb;
const PUSHF = 0x9c;
const POPF = 0x9d;
const POP_AX = 0x58;
const HLT = 0xf4;
/** Without privilege it ends the test by #GP(0). */
const END = HLT;
const WIDE = 0x66;
const push = (word: number): number[] => [0x68, word & 0xff, word >>> 8];

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let runtime: WebAssembly.Module;
  let bench: Bench;
  beforeAll(async () => {
    runtime = await compileRuntime();
    bench = new Bench(make(runtime));
  }, 300_000);
  beforeEach(() => void bench.renew());

  /** Runs code in virtual-8086 mode; it ends in #GP(0): answers where, and EFLAGS there. */
  function virtual(code: readonly number[], flags: number, cr4 = CR4_VME): { at: number; flags: number } {
    enterProtected(bench, cr4);
    enterVirtual(bench, CODE, DATA, flags);
    bench.load(code);
    bench.cpu.ip = 0n;
    return fault(0);
  }

  function protectedMode(code: readonly number[], flags: number, cr4 = CR4_PVI): { at: number; flags: number } {
    enterProtected(bench, cr4);
    enterUser32(bench, flags);
    bench.load(code);
    return fault(CODE);
  }

  function fault(base: number): { at: number; flags: number } {
    expect(bench.untilVector()).toBe(GP);
    const word = (n: number): number => Number(bench.peek64(Number(bench.reg(4)) + 4 * n) & 0xffff_ffffn);
    expect(word(0)).toBe(0);
    expect(bench.reg(4)).toBeLessThan(BigInt(KERNEL_STACK));
    return { at: word(1) - base, flags: word(3) };
  }

  test('CLI and STI of virtual-8086 programs change VIF, not IF', () => {
    expect(virtual([STI, END], IF)).toMatchObject({ at: 1, flags: expect.toSatisfy((f: number) => (f & (IF | VIF)) === (IF | VIF)) });
    expect(virtual([CLI, END], IF | VIF)).toMatchObject({ at: 1, flags: expect.toSatisfy((f: number) => (f & (IF | VIF)) === IF) });
  });

  test('with IOPL 3 they change IF as ever', () => {
    expect(virtual([STI, END], IOPL).flags & (IF | VIF)).toBe(IF);
    expect(virtual([CLI, END], IOPL | IF | VIF).flags & (IF | VIF)).toBe(VIF);
  });

  test.each([
    ['CLI', [CLI]],
    ['STI', [STI]],
    ['PUSHF', [PUSHF]],
    ['POPF', [POPF]],
  ])('%s without the extensions is #GP(0)', (_, code) => {
    expect(virtual(code, IF, 0n).at).toBe(0);
    expect(virtual(code, IF, CR4_PVI).at).toBe(0);
  });

  test('STI and POPF that would set VIF are #GP(0) while a virtual interrupt waits', () => {
    expect(virtual([STI, END], VIP)).toMatchObject({ at: 0, flags: VIP | VM | 0x1_0002 });
    expect(virtual([...push(IF), POPF, END], VIP).at).toBe(3);
    expect(bench.peek64(DATA + 0xfe) & 0xffffn).toBe(BigInt(IF));
    expect(virtual([...push(0), POPF, END], VIP | VIF)).toMatchObject({ at: 4, flags: expect.toSatisfy((f: number) => !(f & VIF)) });
    expect(virtual([CLI, END], VIP | VIF).at).toBe(1);
  });

  test('PUSHF shows VIF as IF, and IOPL as 3', () => {
    virtual([PUSHF, POP_AX, END], VIF | (1 << 12));
    expect(bench.reg(0) & 0xffffn).toBe(BigInt(IF | IOPL | 2));
    virtual([PUSHF, POP_AX, END], IF);
    expect(bench.reg(0) & 0xffffn).toBe(BigInt(IOPL | 2));
  });

  test('POPF loads VIF from IF, keeps IF and IOPL, and refuses TF', () => {
    expect(virtual([...push(IF | NT | IOPL | 1), POPF, END], 1 << 12).flags & (IF | VIF | NT | IOPL | 1)).toBe(VIF | NT | (1 << 12) | 1);
    expect(virtual([...push(0), POPF, END], IF | VIF).flags & (IF | VIF)).toBe(IF);
    expect(virtual([...push(TF), POPF, END], 0).at).toBe(3);
  });

  test('the 32-bit forms are #GP(0) even with the extensions', () => {
    expect(virtual([WIDE, PUSHF, END], 0).at).toBe(0);
    expect(virtual([WIDE, POPF, END], 0).at).toBe(0);
  });

  test('CLI and STI of unprivileged protected-mode programs change VIF', () => {
    expect(protectedMode([STI, END], IF)).toMatchObject({ at: 1, flags: expect.toSatisfy((f: number) => (f & (IF | VIF)) === (IF | VIF)) });
    expect(protectedMode([CLI, END], IF | VIF).flags & (IF | VIF)).toBe(IF);
    expect(protectedMode([STI, END], VIP).at).toBe(0);
    expect(protectedMode([STI, END], IF, CR4_VME).at).toBe(0);
    expect(protectedMode([CLI, END], IF, CR4_VME).at).toBe(0);
  });

  test('PUSHF and POPF of protected mode know no VIF: it is an ordinary flag that POPF leaves', () => {
    expect(protectedMode([PUSHF, POP_AX, 0x6a, 0, POPF, END], VIF | VIP).flags & (IF | VIF | VIP)).toBe(VIF | VIP);
    expect(bench.reg(0) & BigInt(VIF | VIP | IF)).toBe(BigInt(VIF | VIP));
  });

  test('POPFD at CPL 0 leaves VIF and VIP', () => {
    enterProtected(bench, CR4_PVI);
    bench.cpu.setRegisters({ rflags: BigInt(VIF | VIP | 2) });
    bench.load([0x6a, 0, POPF, HLT]);
    bench.untilHalt();
    expect(bench.cpu.rflags & (VIF | VIP)).toBe(VIF | VIP);
  });
});
