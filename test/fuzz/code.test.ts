/**
 * Random bytes and random instructions as a guest's code in every mode, with descriptor tables and page tables that
 * are half right: the processor must come back within its budget, never throw, and touch nothing beyond the RAM.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { Bus, type BusDevice } from '../../src/machine/bus.ts';
import { bareHost } from '../../src/machine/bare-host.ts';
import { Memory } from '../../src/machine/memory.ts';
import type { Segment, SegmentName } from '../../src/machine/vcpu.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { fuzz, oddNumber, pick, type Random } from './seeds.ts';

const RAM = 2 << 20;
const RUNS = 12;
/** A run of this many instructions that takes longer than SLOW_MS hangs. */
const BUDGET = 3000;
const SLOW_MS = 20_000;
/** Instructions that a run may go beyond its budget by: a trap that belongs to the last one. */
const SLACK = 1;

let cpu: Cpu;
let memory: Memory;
let random: Random = () => 0;

/** A device that answers anything and sometimes raises interrupts. */
const anything: BusDevice = {
  read: (_offset, width) => {
    disturb();
    return random(2 ** (8 * width));
  },
  write: () => disturb(),
};

function disturb(): void {
  const what = random(40);
  if (what === 0) cpu.setInterrupt(true);
  else if (what === 1) cpu.nmi();
  else if (what === 2) cpu.kick();
  else if (what === 3) cpu.stop();
  else if (what === 4) memory.write32(random(RAM), random(2 ** 32));
}

const MODES = ['real', 'protected 16', 'protected 32', 'paged 32', 'PAE', 'compatibility', 'long', 'long user'] as const;
type Mode = (typeof MODES)[number];

const TABLES = 0x20000;
const GDT = 0x8000;
const IDT = 0x9000;
const TSS = 0xa000;
const CODE = 0x40000;

const put64 = (gpa: number, value: bigint): void => memory.data.setBigUint64(memory.hostOffset(gpa, 8), BigInt.asUintN(64, value), true);
const put32 = (gpa: number, value: number): void => memory.data.setUint32(memory.hostOffset(gpa, 4), value >>> 0, true);

function descriptor(base: number, limit: number, access: number, flags: number): bigint {
  const low = ((base & 0xffff) * 0x10000 + (limit & 0xffff)) >>> 0;
  const high = (((base >>> 16) & 0xff) | (access << 8) | (limit & 0xf0000) | (flags << 20) | (base & 0xff000000)) >>> 0;
  return (BigInt(high) << 32n) | BigInt(low);
}

/** Real instructions that random bytes rarely make, and that do the most harm. */
const HARMFUL: readonly (readonly number[])[] = [
  [0x0f, 0x20], [0x0f, 0x22], [0x0f, 0x21], [0x0f, 0x23], [0x0f, 0x30], [0x0f, 0x32], [0x0f, 0x01], [0x0f, 0x00], [0x0f, 0xae],
  [0x0f, 0xc7], [0x0f, 0x05], [0x0f, 0x07], [0x0f, 0x34], [0x0f, 0x35], [0xcf], [0x48, 0xcf], [0xcd], [0xcc], [0xf1], [0xfb], [0x9d],
  [0x8e], [0x17], [0xca], [0xcb], [0x48, 0xcb], [0xea], [0x9a], [0xff], [0xf4], [0xf3, 0xa4], [0xf3, 0xa5], [0xf3, 0xaa], [0xf3, 0x48, 0xab],
  [0xf2, 0xae], [0xf3, 0xa6], [0xf3, 0x6c], [0xf3, 0x6e], [0xe4], [0xe6], [0xec], [0xef], [0xc8], [0xc9], [0x60], [0x61], [0xd9], [0xdb],
  [0xdd], [0xdf], [0xc5], [0xc4], [0xc4, 0xe2], [0x66, 0x0f], [0x66, 0x0f, 0x38], [0x66, 0x0f, 0x3a], [0xf0], [0x0f, 0x0b], [0xe8], [0xeb],
  [0x0f, 0x38], [0xf3, 0x0f], [0x89], [0x8b], [0x88, 0x05], [0xc7, 0x05], [0x62], [0x66], [0x67], [0x2e], [0x0f, 0xb2], [0xd7], [0x63],
]; // prettier-ignore

function randomCode(bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    const kind = random(4);
    if (kind === 0) bytes[at++] = random(256);
    else if (kind === 1) {
      for (const byte of pick(random, HARMFUL)) if (at < bytes.length) bytes[at++] = byte;
      for (let n = random(7); n > 0 && at < bytes.length; n--) bytes[at++] = random(256);
    } else if (kind === 2) {
      // A short jump, mostly backwards: loops
      if (at + 2 > bytes.length) break;
      bytes[at++] = pick(random, [0xeb, 0x74, 0x75, 0xe2, 0x72]);
      bytes[at++] = random(3) === 0 ? random(128) : 256 - random(64);
    } else {
      // Arithmetic on registers and memory
      if (at + 3 > bytes.length) break;
      bytes[at++] = pick(random, [0x01, 0x03, 0x29, 0x33, 0x85, 0x8b, 0x89, 0x50 + random(16), 0xb0 + random(16)]);
      bytes[at++] = random(256);
    }
  }
}

/** Fills memory: code everywhere in the second megabyte's likes, tables mostly right. */
function prepare(mode: Mode): void {
  for (let gpa = 0; gpa < 0x8000; gpa += 4) put32(gpa, random(3) === 0 ? random(2 ** 32) : (CODE / 16) * 0x10000 + random(0x1000));
  randomCode(memory.view(CODE, 0x4000)!);
  if (random(4) === 0) randomCode(memory.view(0x60000, 0x2000)!);
  for (let at = 0; at < 0x2000; at += 8) put64(TSS + at, random(3) ? BigInt(0x50000 + random(0x10000)) : oddNumber(random));
  put64(TSS + 0x60, BigInt(random(0x100)) << 48n);
  const wide = mode === 'long' || mode === 'long user' || mode === 'compatibility';
  // Descriptors: flat ones first, then any
  const flat = [
    descriptor(0, 0xfffff, 0x9b, 0xc), descriptor(0, 0xfffff, 0x93, 0xc), descriptor(0, 0xfffff, 0xfb, 0xc), descriptor(0, 0xfffff, 0xf3, 0xc),
    descriptor(0, 0xfffff, 0x9b, 0xa), descriptor(0, 0xfffff, 0xfb, 0xa), descriptor(CODE, 0xffff, 0x9b, 0), descriptor(0x50000, 0xffff, 0x93, 0),
  ]; // prettier-ignore
  put64(GDT, 0n);
  for (let n = 1; n < 64; n++) {
    const any = descriptor(pick(random, [0, CODE, TSS, GDT, random(2 ** 32)]), random(2 ** 20), random(256), random(16));
    put64(GDT + 8 * n, flat[n - 1] ?? (random(8) ? any : oddNumber(random)));
  }
  const selector = (): number => pick(random, wide ? [0x28, 0x28, 0x28, 0x08, random(0x200)] : [0x08, 0x08, 0x38, random(0x200)]);
  for (let vector = 0; vector < 256; vector++) {
    const offset = random(8) ? CODE + random(0x4000) : random(2 ** 32);
    const type = random(8) ? 0x8e + random(2) + 0x60 * random(2) : random(256);
    const gate =
      (BigInt(offset >>> 16) << 48n) |
      (BigInt(type) << 40n) |
      (BigInt(random(4) ? 0 : random(8)) << 32n) |
      (BigInt(selector()) << 16n) |
      BigInt(offset & 0xffff);
    put64(IDT + vector * (wide ? 16 : 8), gate);
    if (wide) put64(IDT + vector * 16 + 8, random(16) ? 0n : oddNumber(random));
  }
  pages(mode, wide);
}

/** Page tables at TABLES: identity with a share of nonsense. */
function pages(mode: Mode, wide: boolean): void {
  const nonsense = random(3) === 0;
  const flags = (): bigint => (nonsense && random(10) === 0 ? oddNumber(random) & 0xfffn : 7n | (random(4) ? 0n : 0x100n));
  if (mode === 'paged 32') {
    for (let n = 0; n < 1024; n++) put32(TABLES + n * 4, 0);
    put32(TABLES, TABLES + 0x1007);
    put32(TABLES + 4, 0x87);
    for (let n = 0; n < 1024; n++) put32(TABLES + 0x1000 + n * 4, Number((BigInt((n % 640) * 4096) | flags()) & 0xffff_ffffn));
    return;
  }
  const at = wide ? TABLES + 0x1000 : TABLES;
  for (let n = 0; n < 512; n++) {
    put64(TABLES + n * 8, 0n);
    put64(TABLES + 0x1000 + n * 8, 0n);
    put64(TABLES + 0x2000 + n * 8, BigInt(n * 0x200000) | 0x87n);
    put64(
      TABLES + 0x3000 + n * 8,
      BigInt((nonsense && random(20) === 0 ? random(512) : n) * 4096) | flags() | (nonsense && random(30) === 0 ? 1n << 63n : 0n),
    );
  }
  if (wide) {
    put64(TABLES, BigInt(TABLES + 0x1007));
    put64(TABLES + 0xff8, BigInt(TABLES + 0x1007));
  }
  put64(at, BigInt(TABLES + 0x2000) | (wide ? 7n : 1n));
  put64(at + 8, wide ? 0x4000_0087n : BigInt(TABLES + 0x2001));
  put64(TABLES + 0x2000, BigInt(TABLES + 0x3007));
}

function enter(mode: Mode): void {
  const wide = mode === 'long' || mode === 'long user' || mode === 'compatibility';
  const user = mode === 'long user' || (mode !== 'real' && mode !== 'long' && random(3) === 0);
  const level = user ? 0x60 : 0;
  const code32 = mode === 'protected 16' ? 0x009b : mode === 'long' || mode === 'long user' ? 0xa09b : 0xc09b;
  const data: Segment =
    mode === 'real'
      ? { selector: CODE / 16, base: BigInt(CODE), limit: 0xffff, attributes: 0x93 }
      : { selector: user ? 0x23 : 0x10, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 | level };
  const cs: Segment =
    mode === 'real'
      ? { selector: CODE / 16, base: BigInt(CODE), limit: 0xffff, attributes: 0x9b }
      : mode === 'protected 16'
        ? { selector: 0x38, base: BigInt(CODE), limit: 0xffff, attributes: code32 | level }
        : { selector: user ? 0x33 : 0x28, base: 0n, limit: 0xffff_ffff, attributes: code32 | level };
  const all: Partial<Record<SegmentName, Segment>> = {};
  for (const name of ['es', 'ss', 'ds', 'fs', 'gs'] as const) all[name] = data;
  const paged = mode === 'paged 32' || mode === 'PAE' || wide;
  const cr4 =
    (mode === 'paged 32' ? 0x10 : mode === 'PAE' || wide ? 0x20 : 0) | 0x600 | (random(4) ? 0x40080 : random(2 ** 22) & 0x3706df & ~0x20);
  cpu.reset();
  cpu.setRegisters({
    gpr: Array.from({ length: 16 }, (_, n) =>
      n === 4 ? BigInt(0x58000 + random(64)) : random(3) ? BigInt(random(RAM)) : oddNumber(random),
    ),
    segments: {
      ...(all as Record<SegmentName, Segment>),
      cs,
      ldtr: { selector: 0x40, base: BigInt(GDT), limit: 0x1ff, attributes: 0x82 },
      tr: {
        selector: 0x48,
        base: BigInt(TSS),
        limit: pick(random, [0x67, 0x2067, random(0x200)]),
        attributes: pick(random, [0x8b, 0x8b, 0x83]),
      },
    },
    gdtr: { base: BigInt(GDT), limit: 0x1ff },
    idtr: { base: BigInt(mode === 'real' ? 0 : IDT), limit: random(8) ? 0xfff : random(0x1000) },
    cr0: BigInt(
      ((mode === 'real' ? 0x10 : 0x11) |
        (paged ? 0x8000_0000 : 0) |
        (random(2) ? 0x22 : random(64) & 0x2e) |
        pick(random, [0, 0x10000, 0x50000])) >>>
        0,
    ),
    cr3: BigInt(TABLES),
    cr4: BigInt(cr4),
    efer: wide ? 0xd01n : BigInt(pick(random, [0, 1, 0x801])),
    rflags: BigInt(2 | (random(2) ? 0x200 : 0) | (random(16) ? 0 : 0x100) | (random(8) ? 0 : 0x40000) | (random(8) ? 0 : 0x3000)),
    rip: BigInt((mode === 'real' || mode === 'protected 16' ? 0 : CODE) + random(0x3f00)),
  });
  cpu.state.setU64(L.XCR0, pick(random, [1n, 3n, 7n, 7n]));
  if (random(16) === 0) {
    for (let n = 0; n < 4; n++) cpu.state.setU64(L.DR + n * 8, BigInt(CODE + random(0x4000)));
    cpu.state.setU32(L.DR7, (random(2 ** 32) & 0xffff2bff) | 0x400);
    cpu.engine.runtime.flushTlb();
  }
  for (const msr of [L.LSTAR, L.CSTAR, L.SYSENTER_EIP]) cpu.state.setU64(msr, BigInt(CODE + random(0x4000)));
  cpu.state.setU64(L.SYSENTER_CS, 0x08n);
  cpu.state.setU64(L.SYSENTER_ESP, 0x58000n);
  cpu.state.setU64(L.STAR, pick(random, [0x0010_0008_0000_0000n, oddNumber(random)]));
}

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  beforeAll(async () => {
    const accelerator = make(await compileRuntime());
    memory = new Memory(RAM, accelerator.reservedBytes);
    const pio = new Bus('pio');
    const mmio = new Bus('mmio');
    pio.map(0, 0x10000, 'anything', anything);
    mmio.map(RAM, 0x1_0000_0000 - RAM, 'anything', anything);
    const host = bareHost(memory, {
      pio,
      mmio,
      acknowledge: () => {
        cpu.setInterrupt(false);
        return random(4) === 0 ? -1 : random(256);
      },
      random: () => oddNumber(random),
      readMsr: (index) => (index & 1 ? undefined : BigInt(index)),
      writeMsr: (index) => (index & 1) === 0,
    });
    cpu = accelerator.createVCpu(host) as Cpu;
  }, 300_000);

  for (const mode of MODES) {
    test(`${mode}: random code comes back within its budget and stays within its memory`, { timeout: 3_600_000 }, async () => {
      // What must not change: the constants below the state, and what follows the RAM.
      const constants = memory.bytes.slice(0, L.STATE);
      let executed = 0;
      const cases = await fuzz(`code ${mode}`, (seeded) => {
        random = seeded;
        prepare(mode);
        memory.written(0, RAM);
        enter(mode);
        for (let run = 0; run < RUNS; run++) {
          const before = cpu.executed;
          const budget = pick(random, [1, 7, 100, BUDGET]);
          const began = performance.now();
          const exit = cpu.run(budget);
          expect(performance.now() - began).toBeLessThan(SLOW_MS);
          const done = cpu.executed - before;
          expect(done).toBeGreaterThanOrEqual(0);
          expect(done).toBeLessThanOrEqual(budget + SLACK);
          executed += done;
          if (exit.kind === 'shutdown') break;
          if (random(3) === 0) disturb();
          if (exit.kind === 'halt') {
            cpu.setRegisters({ rflags: 0x202n });
            cpu.setInterrupt(true);
          }
        }
      });
      // The runtime's own variables lie in front of the constants' end; its tables must be as they were.
      expect(memory.bytes.subarray(0, 1024)).toEqual(constants.subarray(0, 1024));
      expect(cases).toBeGreaterThan(0);
      expect(executed).toBeGreaterThan(cases);
      console.log(`${mode}: ${cases} cases, ${executed} instructions`);
    });
  }
});
