/** Paging: rights, error codes, accessed and dirty bits, sizes, and what each flush must drop. SDM vol. 3, chapter 4. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { ACCESSED, Bench, CODE, DATA, DIRTY, GLOBAL, LARGE, NX, P, PAGE, RAM, RW, TABLES, US, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const HLT = 0xf4;
const PF = 14;
const SMEP = 1n << 20n;
const SMAP = 1n << 21n;
const PGE = 0x80n;
const PCIDE = 1n << 17n;
const AC = 0x40000n;
/** Where the page under test is mapped: a part of the address space of its own. */
const AT = 0x4000_0000n;
const USER_CODE = 0x1_5000_0000;
const READ = [0x8a, 0x07, HLT]; // mov al, [rdi]
const WRITE = [0x88, 0x07, HLT];
const READ_TWICE = (between: readonly number[]): number[] => [0x8a, 0x07, ...between, 0x8a, 0x1f, HLT]; // mov bl, [rdi]

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
    bench.setReg(7, AT);
  });

  const setControl = (change: { cr0?: bigint; cr4?: bigint; efer?: bigint }): void => bench.cpu.setRegisters(change);
  const cr4 = (): bigint => bench.cpu.state.u64(L.CR4);

  type Access = 'read' | 'write' | 'fetch';
  type Fault = number | undefined;

  /** Error code of an access to the page under test, or undefined when it succeeds. */
  function access(how: Access, user: boolean, flags = 2n): Fault {
    const code = how === 'fetch' ? [0xff, 0xe7] : how === 'read' ? READ : WRITE;
    // User code lies in a page of its own
    bench.map(BigInt(USER_CODE), DATA, P | US);
    bench.poke(DATA, code);
    bench.poke(DATA + PAGE, [HLT]);
    bench.cpu.engine.runtime.flushTlb();
    bench.cpu.halted = false;
    bench.setReg(4, BigInt(0x60000 + PAGE));
    if (user) bench.enterUser(USER_CODE, flags);
    else {
      bench.load(code);
      bench.cpu.setRegisters({ rflags: flags });
    }
    const vector = bench.untilVector();
    // HLT itself is #GP for users
    if (vector === undefined || vector === 13) return undefined;
    expect(vector).toBe(PF);
    expect(bench.cpu.state.u64(L.CR2)).toBe(AT);
    return Number(bench.frame(0));
  }

  describe('rights', () => {
    const page = (flags: bigint): void => bench.map(AT, DATA + PAGE, flags);

    test('a page that is not present faults with W and U in the error code', () => {
      page(0n);
      expect(access('read', false)).toBe(0);
      bench.renew();
      bench.setReg(7, AT);
      page(0n);
      expect(access('write', true)).toBe(6);
      bench.renew();
      bench.setReg(7, AT);
      page(0n);
      expect(access('fetch', true)).toBe(0x14);
    });

    const cases: readonly [
      string,
      { flags: bigint; how: Access; user: boolean; cr0?: bigint; cr4?: bigint; ac?: boolean; error: Fault },
    ][] = [
      ['users read user pages', { flags: P | US, how: 'read', user: true, error: undefined }],
      ['users do not read supervisor pages', { flags: P | RW, how: 'read', user: true, error: 5 }],
      ['users do not write read-only pages', { flags: P | US, how: 'write', user: true, error: 7 }],
      ['users write writable pages', { flags: P | RW | US, how: 'write', user: true, error: undefined }],
      ['the supervisor does not write read-only pages under WP', { flags: P, how: 'write', user: false, error: 3 }],
      [
        'the supervisor writes read-only pages without WP',
        { flags: P | US, how: 'write', user: false, cr0: 0x8000_0033n, error: undefined },
      ],
      ['nobody runs pages with NX', { flags: P | RW | NX, how: 'fetch', user: false, error: 0x11 }],
      ['users do not run pages with NX', { flags: P | US | NX, how: 'fetch', user: true, error: 0x15 }],
      ['the supervisor runs user pages without SMEP', { flags: P | US, how: 'fetch', user: false, error: undefined }],
      ['the supervisor does not run user pages under SMEP', { flags: P | US, how: 'fetch', user: false, cr4: SMEP, error: 0x11 }],
      ['users run user pages under SMEP', { flags: P | US, how: 'fetch', user: true, cr4: SMEP, error: undefined }],
      ['the supervisor does not read user pages under SMAP', { flags: P | US, how: 'read', user: false, cr4: SMAP, error: 1 }],
      ['the supervisor does not write user pages under SMAP', { flags: P | US | RW, how: 'write', user: false, cr4: SMAP, error: 3 }],
      [
        'the supervisor reads user pages under SMAP with AC',
        { flags: P | US, how: 'read', user: false, cr4: SMAP, ac: true, error: undefined },
      ],
      ['SMAP does not hinder users', { flags: P | US | RW, how: 'write', user: true, cr4: SMAP, error: undefined }],
      ['reserved bits fault whoever reads', { flags: P | RW | US | (1n << 45n), how: 'read', user: true, error: 13 }],
      ['reserved bits fault with the access in the error code', { flags: P | RW | (1n << 51n), how: 'write', user: false, error: 11 }],
    ];
    test.each(cases)('%s', (_name, { flags, how, user, cr0 = 0x8001_0033n, cr4: bits = 0n, ac, error }) => {
      page(flags);
      setControl({ cr0, cr4: cr4() | bits });
      expect(access(how, user, ac ? AC | 2n : 2n)).toBe(error);
    });

    test('NX is a reserved bit without EFER.NXE', () => {
      page(P | RW | NX);
      setControl({ efer: 0x501n });
      expect(access('read', false)).toBe(9);
    });

    test('CLAC and STAC change what the next access may do, TLB entries notwithstanding', () => {
      page(P | US);
      setControl({ cr4: cr4() | SMAP });
      // stac; mov al,[rdi]; clac; mov al,[rdi]
      bench.load([0x0f, 0x01, 0xcb, 0x8a, 0x07, 0x0f, 0x01, 0xca, 0x8a, 0x07, HLT]);
      expect(bench.untilVector()).toBe(PF);
      expect(Number(bench.frame(1)) - CODE).toBe(8);
    });

    test('the rights of every level count', () => {
      page(P | RW | US);
      const directory = bench.entry(AT, 2);
      bench.poke64(directory, bench.peek64(directory) & ~RW);
      expect(access('write', true)).toBe(7);
      bench.renew();
      bench.setReg(7, AT);
      page(P | RW | US);
      const pointers = bench.entry(AT, 3);
      bench.poke64(pointers, bench.peek64(pointers) | NX);
      expect(access('fetch', true)).toBe(0x15);
    });

    test('an access across two pages faults on the second before it changes the first', () => {
      page(P | RW);
      bench.map(AT + BigInt(PAGE), 0, 0n);
      bench.setReg(7, AT + 0xffen);
      bench.setReg(0, 0x1111_1111n);
      bench.load([0x89, 0x07, HLT]);
      expect(bench.untilVector()).toBe(PF);
      expect(bench.cpu.state.u64(L.CR2)).toBe(AT + 0x1000n);
      expect(bench.memory.read16(DATA + 2 * PAGE - 2)).toBe(0);
    });

    test('a non-canonical address is #GP(0), on the stack #SS(0)', () => {
      bench.setReg(7, 1n << 47n);
      bench.load(READ);
      expect(bench.untilVector()).toBe(13);
      expect(bench.frame(0)).toBe(0n);
      bench.setReg(5, 1n << 47n);
      bench.load([0x8a, 0x45, 0x00, HLT]); // mov al, [rbp]
      expect(bench.untilVector()).toBe(12);
    });
  });

  describe('accessed and dirty bits', () => {
    test('reading sets A in every level and D nowhere; writing sets D in the last', () => {
      bench.map(AT, DATA, P | RW);
      const levels = [4, 3, 2, 1].map((level) => bench.entry(AT, level));
      bench.load(READ);
      bench.untilHalt();
      expect(levels.map((entry) => bench.peek64(entry) & (ACCESSED | DIRTY))).toEqual([ACCESSED, ACCESSED, ACCESSED, ACCESSED]);
      bench.load(WRITE);
      bench.untilHalt();
      expect(levels.map((entry) => bench.peek64(entry) & (ACCESSED | DIRTY))).toEqual([ACCESSED, ACCESSED, ACCESSED, ACCESSED | DIRTY]);
    });

    test('a write that faults sets no D, and a page beside one that is used stays untouched', () => {
      bench.map(AT, DATA, P);
      bench.map(AT + BigInt(PAGE), DATA, P | RW);
      bench.load(WRITE);
      expect(bench.untilVector()).toBe(PF);
      expect(bench.peek64(bench.entry(AT)) & DIRTY).toBe(0n);
      expect(bench.peek64(bench.entry(AT + BigInt(PAGE))) & (ACCESSED | DIRTY)).toBe(0n);
    });

    test('a D bit that is cleared, with INVLPG, is set by the next write again', () => {
      bench.map(AT, DATA, P | RW);
      bench.load(WRITE);
      bench.untilHalt();
      bench.map(AT, DATA, P | RW);
      bench.load([0x0f, 0x01, 0x3f, ...WRITE]);
      bench.untilHalt();
      expect(bench.peek64(bench.entry(AT)) & DIRTY).toBe(DIRTY);
    });

    test('fetching sets A', () => {
      bench.map(AT, DATA, P);
      bench.poke(DATA, [HLT]);
      bench.load([0xff, 0xe7]);
      bench.untilHalt();
      expect(bench.peek64(bench.entry(AT)) & (ACCESSED | DIRTY)).toBe(ACCESSED);
    });
  });

  describe('flushes', () => {
    /** Reads the page, remaps it by the instructions' way, reads again: the second value. */
    function readTwice(flags: bigint, between: readonly number[]): number {
      bench.poke(DATA, [1]);
      bench.poke(DATA + PAGE, [2]);
      bench.map(AT, DATA, P | flags);
      const entry = bench.entry(AT);
      // The tables are in the identity map: mov dword [entry], new
      const remap = [0xc7, 0x04, 0x25, ...le(entry, 4), ...le(BigInt(DATA + PAGE) | P | flags, 4)];
      bench.load(READ_TWICE([...remap, ...between]));
      bench.untilHalt();
      return Number(bench.reg(3) & 0xffn);
    }
    const reload = [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]; // mov rax, cr3; mov cr3, rax

    test('INVLPG drops a page, a global one too', () => {
      expect(readTwice(0n, [0x0f, 0x01, 0x3f])).toBe(2);
      expect(readTwice(GLOBAL, [0x0f, 0x01, 0x3f])).toBe(2);
    });

    test('a CR3 write drops what is not global, and keeps what is', () => {
      expect(readTwice(0n, reload)).toBe(2);
      expect(cr4() & PGE).toBe(PGE);
      bench.renew();
      bench.setReg(7, AT);
      expect(readTwice(GLOBAL, reload)).toBe(1);
    });

    test('clearing CR4.PGE drops global pages; without PGE there are none', () => {
      // mov rax, cr4; xor al, 0x80; mov cr4, rax
      expect(readTwice(GLOBAL, [0x0f, 0x20, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0])).toBe(2);
      bench.renew();
      bench.setReg(7, AT);
      setControl({ cr4: cr4() & ~PGE });
      expect(readTwice(GLOBAL, reload)).toBe(2);
    });

    test('with PCIDs a CR3 write that asks for a flush flushes, and one with bit 63 is accepted', () => {
      setControl({ cr4: cr4() | PCIDE });
      expect(readTwice(0n, reload)).toBe(2);
      // mov rax, cr3; bts rax, 63; mov cr3, rax; mov rdx, cr3
      bench.load([0x0f, 0x20, 0xd8, 0x48, 0x0f, 0xba, 0xe8, 63, 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xda, HLT]);
      expect(bench.untilVector()).toBeUndefined();
      expect(bench.reg(2)).toBe(BigInt(TABLES));
    });

    test('an address space of its own is seen at once when PCIDs change', () => {
      setControl({ cr4: cr4() | PCIDE });
      bench.poke(DATA, [1]);
      bench.poke(DATA + PAGE, [2]);
      bench.map(AT, DATA, P);
      // A second root with the same kernel part, and its own tables for AT
      const root = 0x70000;
      bench.poke(root, [...bench.memory.view(TABLES, PAGE)!]);
      const [pointers, directory, table] = [0x71000, 0x72000, 0x73000];
      bench.poke(pointers, [...bench.memory.view(Number(bench.peek64(TABLES) & 0xf_ffff_f000n), PAGE)!]);
      bench.poke64(root, BigInt(pointers) | 7n);
      bench.poke64(pointers + 8, BigInt(directory) | 7n);
      bench.poke64(directory, BigInt(table) | 7n);
      bench.poke64(table, BigInt(DATA + PAGE) | 3n);
      const load = (cr3: number): number[] => [0xb8, ...le(cr3, 4), 0x48, 0x0f, 0xba, 0xe8, 63, 0x0f, 0x22, 0xd8];
      bench.load([...load(TABLES | 1), 0x8a, 0x1f, ...load(root | 2), 0x8a, 0x0f, ...load(TABLES | 1), 0x8a, 0x17, HLT]);
      bench.untilHalt();
      expect([3, 1, 2].map((reg) => Number(bench.reg(reg) & 0xffn))).toEqual([1, 2, 1]);
    });

    test('INVLPG on any address of a large page drops all of it', () => {
      for (const level of [2, 3]) {
        bench.renew();
        const size = level === 2 ? 0x200000n : 0x4000_0000n;
        const base = 0x8000_0000n;
        // Global, so that only INVLPG can drop it
        bench.map(base, 0, P | RW | LARGE | GLOBAL, level);
        const entry = bench.entry(base, level);
        bench.setReg(7, base + BigInt(DATA));
        bench.setReg(6, base + (level === 2 ? 0x1ff000n : size - 0x1000n));
        bench.poke(DATA, [1]);
        bench.load([0x8a, 0x07, 0xc7, 0x04, 0x25, ...le(entry, 4), ...le(0, 4), 0x0f, 0x01, 0x3e, 0x8a, 0x1f, HLT]);
        expect(bench.untilVector()).toBe(PF);
        expect(bench.cpu.state.u64(L.CR2)).toBe(base + BigInt(DATA));
      }
    });
  });

  describe('sizes and modes', () => {
    test('2 MiB and 1 GiB pages translate all their bits, and set D in their entry', () => {
      bench.poke64(0x234560, 0x1122_3344n);
      bench.map(0x8000_0000n, 0x200000, P | RW | LARGE, 2);
      bench.map(0xc000_0000n, 0, P | RW | LARGE, 3);
      for (const [linear, level] of [
        [0x8000_0000n + 0x34560n, 2],
        [0xc000_0000n + 0x234560n, 3],
      ] as const) {
        bench.setReg(7, linear);
        bench.load([0x8b, 0x07, 0x89, 0x07, HLT]);
        bench.untilHalt();
        expect(bench.reg(0)).toBe(0x1122_3344n);
        expect(bench.peek64(bench.entry(linear, level)) & (ACCESSED | DIRTY)).toBe(ACCESSED | DIRTY);
      }
    });

    test('address bits within a large page are reserved', () => {
      for (const [level, bit] of [
        [2, 1n << 13n],
        [3, 1n << 29n],
      ] as const) {
        bench.renew();
        bench.setReg(7, AT);
        bench.map(AT, 0, P | RW | LARGE | bit, level);
        bench.load(READ);
        expect(bench.untilVector()).toBe(PF);
        expect(bench.frame(0)).toBe(9n);
      }
    });

    /** To 32-bit protected mode with the given tables; code at CODE. */
    function enter32(cr3: number, bits: number, efer = 0n): void {
      const { segments } = bench.cpu.registers();
      const flat = { base: 0n, limit: 0xffff_ffff };
      bench.cpu.setRegisters({
        efer,
        cr4: BigInt(bits),
        cr3: BigInt(cr3),
        segments: { ...segments, cs: { selector: 8, ...flat, attributes: 0xc09b } },
        idtr: { base: 0n, limit: 0 },
      });
    }

    test('32-bit paging with 4 MiB pages under PSE, beyond 4 GiB by their upper bits', () => {
      const directory = 0x70000;
      const table = 0x71000;
      for (let n = 0; n < 1024; n++) bench.memory.write32(table + n * 4, (n * PAGE) | 3);
      bench.memory.write32(directory, table | 3);
      bench.memory.write32(directory + 4 * 0x80, 0x83); // 0x20000000: 4 MiB at 0
      bench.memory.write32(directory + 4 * 0x81, 0x83 | (1 << 13)); // the same 4 GiB higher: no RAM
      enter32(directory, 0x10);
      bench.memory.write32(DATA, 0x55);
      bench.setReg(7, 0x2000_0000n + BigInt(DATA));
      bench.setReg(6, 0x2040_0000n + BigInt(DATA));
      bench.load([0x8b, 0x07, 0x89, 0x07, 0x8b, 0x1e, HLT]);
      bench.untilHalt();
      expect(bench.reg(0)).toBe(0x55n);
      expect(bench.reg(3)).toBe(0xffff_ffffn);
      expect(bench.memory.read32(directory + 4 * 0x80) & 0x60).toBe(0x60);
      expect(bench.memory.read32(table + 4 * (CODE / PAGE)) & 0x60).toBe(0x20);
    });

    test('PAE paging reaches the last of its four entries', () => {
      const [pointers, directory] = [0x70000, 0x71000];
      bench.poke64(pointers, BigInt(directory) | 1n);
      bench.poke64(pointers + 24, BigInt(directory) | 1n);
      bench.poke64(directory, 0x83n);
      bench.poke64(directory + 8 * 0x1ff, 0x83n);
      enter32(pointers, 0x20, 0x800n);
      bench.memory.write32(DATA, 0x66);
      bench.setReg(7, 0xffe0_0000n + BigInt(DATA));
      bench.load([0x8b, 0x07, HLT]);
      bench.untilHalt();
      expect(bench.reg(0)).toBe(0x66n);
      expect(bench.peek64(pointers) & ACCESSED).toBe(0n);
    });

    test('with paging off linear addresses are physical, whatever the tables say', () => {
      enter32(RAM - PAGE, 0);
      setControl({ cr0: 0x11n });
      bench.memory.write32(RAM - 4, 0x77);
      bench.setReg(7, BigInt(RAM - 4));
      bench.load([0x8b, 0x07, HLT]);
      bench.untilHalt();
      expect(bench.reg(0)).toBe(0x77n);
    });
  });
});
