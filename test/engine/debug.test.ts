/** Debug exceptions, interrupt shadows, NMIs and HLT. SDM vol. 3, chapters 6 and 18. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE, DATA, STUBS, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const TF = 0x100n;
const IF = 0x200n;
const RF = 0x10000n;
const BS = 0x4000n;
const HLT = 0xf4;
const NOP = 0x90;
const STI = 0xfb;
const IRETQ = [0x48, 0xcf];
const MOV_SS_AX = [0x8e, 0xd0];
const DB = 1;
const NMI = 2;

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
  });

  const dr6 = (): bigint => bench.cpu.state.u64(L.DR + 32);
  const setFlags = (flags: bigint): void => bench.cpu.setRegisters({ rflags: flags | 2n });

  /** Enables breakpoint `n`: type 0 is execution, 1 writing, 3 reading and writing. */
  function breakpoint(n: number, address: number, type = 0, lengthCode = 0): void {
    const { state, engine } = bench.cpu;
    state.setU64(L.DR + n * 8, BigInt(address));
    state.setU32(L.DR7, state.u32(L.DR7) | (2 << (n * 2)) | ((type | (lengthCode << 2)) << (16 + n * 4)));
    engine.runtime.flushTlb();
  }

  /** Collects the addresses that #DB was raised at, going on with IRET each time, until HLT elsewhere or so many. */
  function trapAddresses(most = 20): { at: number; dr6: bigint; flags: bigint }[] {
    const traps: { at: number; dr6: bigint; flags: bigint }[] = [];
    bench.poke(STUBS + DB, [HLT]);
    while (traps.length < most) {
      const end = bench.untilHalt();
      if (end !== STUBS + DB + 1) return traps;
      traps.push({ at: Number(bench.frame(0)), dr6: dr6(), flags: bench.frame(2) });
      bench.cpu.state.setU64(L.DR + 32, 0xffff0ff0n);
      const [rip, , flags] = [0, 1, 2].map((word) => bench.frame(word)) as [bigint, bigint, bigint];
      bench.setReg(4, bench.frame(3));
      bench.cpu.halted = false;
      bench.cpu.setRegisters({ rflags: flags | (traps.at(-1)!.dr6 & BS ? 0n : RF), rip });
    }
    return traps;
  }

  test('single step traps behind every instruction, with DR6.BS and TF in the frame', () => {
    bench.load([NOP, 0x48, 0xff, 0xc0, 0xeb, 0x00, NOP, HLT]);
    setFlags(TF);
    const traps = trapAddresses(4);
    expect(traps.map(({ at }) => at - CODE)).toEqual([1, 4, 6, 7]);
    for (const trap of traps) {
      expect(trap.dr6 & (BS | 15n)).toBe(BS);
      expect(trap.flags & TF).toBe(TF);
    }
  });

  test('single step traps after HLT and after every repetition of a string instruction', () => {
    bench.load([0xf3, 0xaa, HLT, NOP, HLT]);
    bench.setReg(1, 3n);
    bench.setReg(7, BigInt(DATA));
    setFlags(TF);
    expect(trapAddresses(5).map(({ at }) => at - CODE)).toEqual([0, 0, 2, 3, 4]);
  });

  test('POPF that sets TF traps only after the next instruction', () => {
    bench.load([0x9d, NOP, NOP, HLT]);
    bench.poke64(Number(bench.reg(4)) - 8, TF | 2n);
    bench.setReg(4, bench.reg(4) - 8n);
    expect(bench.untilVector()).toBe(DB);
    expect(Number(bench.frame(0)) - CODE).toBe(2);
  });

  test('INT n does not trap by single step in its handler', () => {
    bench.load([0xcd, 0x80]);
    bench.gate(0x80, CODE + 0x100);
    bench.poke(CODE + 0x100, [NOP, NOP, HLT]);
    setFlags(TF);
    expect(bench.untilHalt()).toBe(CODE + 0x103);
  });

  test('an instruction that faults does not trap: its fault comes first', () => {
    bench.load([0x0f, 0x0b]);
    setFlags(TF);
    expect(bench.untilVector()).toBe(6);
    expect(bench.frame(2) & (TF | RF)).toBe(TF | RF);
  });

  test('SYSCALL traps only when SFMASK leaves TF set', () => {
    for (const mask of [TF, 0n]) {
      bench.renew();
      const { state } = bench.cpu;
      state.setU64(L.LSTAR, BigInt(CODE + 0x200));
      state.setU64(L.SFMASK, mask);
      state.setU64(L.STAR, 0x0010_0008_0000_0000n);
      bench.poke(CODE + 0x200, [NOP, HLT]);
      bench.load([0x0f, 0x05]);
      setFlags(TF);
      if (mask) expect(bench.untilHalt()).toBe(CODE + 0x202);
      else {
        expect(bench.untilVector()).toBe(DB);
        expect(Number(bench.frame(0))).toBe(CODE + 0x200);
      }
    }
  });

  test('MOV SS holds off the single-step trap for one instruction', () => {
    bench.load([...MOV_SS_AX, NOP, NOP, HLT]);
    bench.setReg(0, 0x10n);
    setFlags(TF);
    expect(bench.untilVector()).toBe(DB);
    expect(Number(bench.frame(0)) - CODE).toBe(3);
  });

  test('an instruction breakpoint is a fault at its address, and RF lets the instruction run once', () => {
    // A loop that meets the breakpoint three times
    bench.load([NOP, 0xff, 0xc8, 0x75, 0xfb, HLT]);
    bench.setReg(0, 3n);
    breakpoint(1, CODE + 1);
    const traps = trapAddresses();
    expect(traps.map(({ at }) => at - CODE)).toEqual([1, 1, 1]);
    for (const trap of traps) {
      expect(trap.dr6 & 15n).toBe(2n);
      expect(trap.flags & RF).toBe(0n);
    }
    expect(bench.reg(0)).toBe(0n);
  });

  test('a watchpoint traps behind the instruction that wrote, by overlap, and not for reads', () => {
    breakpoint(2, DATA + 4, 1, 3);
    bench.setReg(7, BigInt(DATA));
    bench.load([
      ...[0x8b, 0x47, 0x04], // mov eax, [rdi+4]
      ...[0x89, 0x07], // mov [rdi], eax: beside it
      ...[0x48, 0x89, 0x07], // mov [rdi], rax: overlaps
      ...[0x88, 0x47, 0x07], // mov [rdi+7], al
      ...[0x88, 0x47, 0x08], // mov [rdi+8], al
      HLT,
    ]);
    const traps = trapAddresses();
    expect(traps.map(({ at }) => at - CODE)).toEqual([8, 11]);
    expect(traps.map((trap) => trap.dr6 & 15n)).toEqual([4n, 4n]);
  });

  test('a read-write watchpoint sees reads, stack accesses and string instructions', () => {
    breakpoint(0, DATA, 3, 2);
    bench.setReg(7, BigInt(DATA));
    bench.setReg(4, BigInt(DATA + 8));
    bench.load([0x8b, 0x07, 0x50, 0x58, 0xaa, 0xb8, ...le(1, 4), HLT]);
    expect(trapAddressesOnOtherStack()).toEqual([2, 3, 4, 5]);
  });

  /** As trapAddresses, when the guest's stack itself is watched: exceptions go by an IST stack. */
  function trapAddressesOnOtherStack(): number[] {
    bench.poke64(0x3000 + 0x24, 0x9000n); // IST1
    bench.poke(0x2000 + 16 * DB + 4, [1]);
    return trapAddresses().map(({ at }) => at - CODE);
  }

  test('no interrupt comes between STI and the instruction behind it, wherever slices end', () => {
    for (const slice of [1, 2, 3, 1000]) {
      bench.renew();
      bench.load([NOP, STI, 0x48, 0xff, 0xc0, NOP, HLT]);
      // The interrupt comes when STI has run
      bench.cpu.run(2);
      bench.interrupt(0x40);
      for (let n = 0; n < 10 && bench.cpu.run(slice).kind === 'budget'; n++);
      expect(bench.reg(0)).toBe(1n);
      expect(Number(bench.cpu.next)).toBe(STUBS + 0x41);
      expect(Number(bench.frame(0)) - CODE).toBe(5);
    }
  });

  test('an interrupt that waits at STI comes after the next instruction, at MOV SS likewise', () => {
    bench.load([STI, NOP, NOP, HLT]);
    bench.interrupt(0x41);
    expect(bench.untilVector()).toBe(0x41);
    expect(Number(bench.frame(0)) - CODE).toBe(2);

    bench.renew();
    bench.load([...MOV_SS_AX, NOP, NOP, HLT]);
    bench.setReg(0, 0x10n);
    setFlags(IF);
    bench.cpu.run(1);
    bench.interrupt(0x41);
    expect(bench.untilVector()).toBe(0x41);
    expect(Number(bench.frame(0)) - CODE).toBe(3);
  });

  test('an interrupt waits while IF is clear, and wakes HLT when it is set', () => {
    bench.load([NOP, HLT, 0xfa]);
    bench.interrupt(0x42);
    expect(bench.untilHalt()).toBe(CODE + 2);
    expect(bench.cpu.run(100).kind).toBe('halt');
    setFlags(IF);
    expect(bench.untilVector()).toBe(0x42);
    expect(Number(bench.frame(0)) - CODE).toBe(2);
  });

  test('a second NMI waits for IRET', () => {
    bench.gate(NMI, CODE + 0x100);
    bench.poke(CODE + 0x100, [0x48, 0xff, 0xc3, NOP, ...IRETQ]); // inc rbx
    bench.load([NOP, NOP, NOP, NOP, HLT]);
    bench.cpu.nmi();
    bench.cpu.run(2); // delivery, INC
    expect(bench.reg(3)).toBe(1n);
    bench.cpu.nmi();
    bench.cpu.run(2); // NOP, IRETQ
    expect(bench.reg(3)).toBe(1n);
    bench.cpu.run(2);
    expect(bench.reg(3)).toBe(2n);
    expect(bench.untilHalt()).toBe(CODE + 5);
  });

  test('an NMI wakes HLT although IF is clear', () => {
    bench.load([HLT]);
    bench.untilHalt();
    bench.cpu.nmi();
    expect(bench.untilVector()).toBe(NMI);
  });

  test('a debug register breakpoint on a port needs CR4.DE', () => {
    breakpoint(0, 0x80, 2, 0);
    bench.load([0xe6, 0x80, HLT]);
    expect(bench.untilHalt()).toBe(CODE + 3);
    bench.cpu.state.setU64(L.CR4, bench.cpu.state.u64(L.CR4) | 8n);
    bench.load([0xe6, 0x80, HLT]);
    expect(bench.untilVector()).toBe(DB);
    expect(Number(bench.frame(0)) - CODE).toBe(2);
  });

  test('DR7.GD raises #DB before a MOV of a debug register, and the handler may use them', () => {
    const { state } = bench.cpu;
    state.setU32(L.DR7, state.u32(L.DR7) | (1 << 13));
    bench.load([0x0f, 0x21, 0xc0, HLT]); // mov rax, dr0
    expect(bench.untilVector()).toBe(DB);
    expect(Number(bench.frame(0))).toBe(CODE);
    expect(dr6() & 0x2000n).toBe(0x2000n);
    expect(state.u32(L.DR7) & (1 << 13)).toBe(0);
  });
});
