/** A bench with a lockstep program on it, and everything of it that a guest could see. */
import * as L from '../../src/x86/runtime/layout.ts';
import { Bench, GLOBAL, P, PAGE, RW, US } from '../engine/bench.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { Random } from '../native/random.ts';
import { installKernel } from './kernel.ts';
import * as A from './layout.ts';
import type { Program } from './program.ts';

const CR4_PGE = 0x80n;
const CR4_FSGSBASE = 0x1_0000n;
const CR4_PCIDE = 0x2_0000n;
const CR4_OSXSAVE = 0x4_0000n;
const CR0_AM = 0x4_0000n;

/** Guest-physical memory that is mapped at all. */
const MAPPED = 0x80000;

/** What a program's machine is like. */
export interface Settings {
  readonly pcid: boolean;
  readonly global: boolean;
  readonly alignment: boolean;
  /** Fills data and vector registers. */
  readonly seed: number;
}

/** Parts of the state block that are the guest's, by name. Flags and the instruction pointer are told apart. */
const VISIBLE: readonly (readonly [name: string, from: number, to: number])[] = [
  ['CPL', L.CPL, L.CPL + 4],
  ['PENDING', L.PENDING, L.PENDING + 4],
  ['CR', L.CR0, L.FPU_TRAP + 4],
  ['DR7', L.DR7, L.DR],
  ['DR', L.DR, L.SEG_BASE],
  ['segment bases', L.SEG_BASE, L.SEG_LIMIT],
  ['segments', L.SEG_LIMIT, L.GDTR_BASE],
  ['tables and MSRs', L.GDTR_BASE, L.FCW],
  ['x87', L.FCW, L.MXCSR],
  ['MXCSR', L.MXCSR, L.MXCSR + 4],
  ['x87 registers', L.X87, L.YMM],
  ['vector registers', L.YMM, L.BOUNCE],
];

export class LockstepMachine {
  readonly name: string;
  readonly bench: Bench;
  #program!: Program;
  #image!: Uint8Array;

  constructor(name: string, accelerator: Accelerator) {
    this.name = name;
    this.bench = new Bench(accelerator);
  }

  get cpu(): Cpu {
    return this.bench.cpu;
  }

  /** From the beginning, with nothing decoded or compiled. */
  prepare(program: Program, settings: Settings): void {
    const { bench, cpu } = this;
    this.#program = program;
    bench.renew();
    cpu.engine.resetArena();
    cpu.executed = 0;
    bench.mmio.map(A.DEVICE_GPA, PAGE, 'counter', {
      read: () => cpu.executed >>> 0,
      write: (_offset, _width, value) => {
        if (value & 1) cpu.kick();
      },
    });
    this.#pages(settings);
    const user = bench.entry(0n) & ~0xfff;
    const entry = installKernel(bench, user, A.OTHER_TABLES + 3 * PAGE);
    bench.poke(A.CODE, program.code);
    bench.poke(A.OTHER_CODE, program.code);
    program.landings.forEach((landing, n) => bench.poke64(A.LANDINGS + n * 8, BigInt(landing)));
    const { mutable } = program;
    for (let n = 0; n < A.MUTABLE_COUNT; n++) bench.poke64(A.MUTABLE + n * 8, BigInt(mutable[n % mutable.length] ?? A.STAMP));
    // The other address space has some immediates of its own.
    mutable.forEach((address, n) => {
      if (n & 1) bench.poke(address - A.CODE + A.OTHER_CODE, [0x55]);
    });
    const spaces = [A.OTHER_TABLES, 0x10000].flatMap((table, n) => [BigInt(table) | (settings.pcid ? BigInt(n + 1) : 0n), BigInt(table)]);
    [...spaces, ...spaces.map((value) => (settings.pcid ? value | (1n << 63n) : value))].forEach((value, n) =>
      bench.poke64(A.SPACES + n * 8, value),
    );
    const random = new Random(settings.seed);
    bench.poke64(A.TICKS, BigInt(random.below(0x1000)));
    random.scatter(bench.memory.view(A.DATA, 3 * PAGE)!, 0, 3 * PAGE, random.pick(['integer', 'float64', 'float32'] as const));
    bench.memory.written(A.DATA, 3 * PAGE);
    cpu.setRegisters({
      cr0: 0x8001_0033n | (settings.alignment ? CR0_AM : 0n),
      cr4: cpu.registers().cr4 | CR4_PGE | CR4_FSGSBASE | CR4_OSXSAVE | (settings.pcid ? CR4_PCIDE : 0n),
    });
    const { state } = cpu;
    state.setU64(L.XCR0, 7n);
    state.setU64(L.STAR, 0x0010_0008_0000_0000n);
    state.setU64(L.LSTAR, BigInt(entry));
    state.setU64(L.SFMASK, 0x4_0700n);
    cpu.updateMode();
    this.#image = bench.memory.view(0, MAPPED)!.slice();
    this.start(settings.seed, true);
  }

  #pages({ global }: Settings): void {
    const { bench } = this;
    const flag = global ? GLOBAL : 0n;
    const map = (linear: number, gpa: number, flags: bigint): void => bench.map(BigInt(linear), gpa, flags);
    for (let gpa = 0; gpa < 0x38000; gpa += PAGE) map(gpa, gpa, P | RW | flag);
    for (let n = 0; n < A.CODE_PAGES; n++) {
      map(A.CODE + n * PAGE, A.CODE + n * PAGE, P | RW | US | (n & 1 ? flag : 0n));
      map(A.ALIAS + n * PAGE, A.CODE + n * PAGE, P | RW | US);
      map(A.OTHER_CODE + n * PAGE, A.OTHER_CODE + n * PAGE, P | RW | US);
    }
    for (let n = 0; n < A.DATA_PAGES; n++) {
      const there = A.LAZY.includes(n) || n === A.GUARD ? 0n : P;
      map(A.dataPage(n), A.dataPage(n), there | (n === A.READ_ONLY ? 0n : RW) | US);
    }
    for (let gpa = A.DATA + A.DATA_PAGES * PAGE; gpa < A.ALIAS; gpa += PAGE) map(gpa, gpa, P | RW | US);
    map(A.STACK_GAP, A.STACK_GAP, 0n);
    map(A.DEVICE, A.DEVICE_GPA, P | RW | US);
    // The second address space: the same, but for some code pages.
    const tables = [4, 3, 2, 1].map((level) => bench.entry(0n, level) & ~0xfff);
    tables.forEach((table, n) => bench.poke(A.OTHER_TABLES + n * PAGE, [...bench.memory.view(table, PAGE)!]));
    for (let n = 0; n < 3; n++) bench.poke64(A.OTHER_TABLES + n * PAGE, BigInt(A.OTHER_TABLES + (n + 1) * PAGE) | P | RW | US);
    for (let n = 0; n < A.CODE_PAGES; n++) {
      const entry = tables[3]! + ((A.CODE >> 12) + n) * 8;
      bench.poke64(A.CODE_ENTRIES + n * 8, bench.peek64(entry));
      if (n % 3 === 1) {
        bench.poke64(A.OTHER_TABLES + 3 * PAGE + ((A.CODE >> 12) + n) * 8, BigInt(A.OTHER_CODE + n * PAGE) | P | RW | US);
      }
    }
  }

  /** Goes on at a landing with registers of a seed, as user or as kernel, in the first address space. */
  start(seed: number, kernel: boolean): void {
    const { bench, cpu } = this;
    const random = new Random(seed);
    const { state } = cpu;
    cpu.halted = false;
    this.break(0x400, 0);
    const gpr = Array.from({ length: 16 }, () => random.bigint(64));
    [A.dataPage(0) + 0x100, A.STACK_TOP - 0x100, A.dataPage(5), A.dataPage(1), A.dataPage(2) - 0x40].forEach((address, n) => {
      gpr[n + 3] = BigInt(address);
    });
    const landing = random.pick(this.#program.landings);
    bench.enterUser(landing, 0x202n);
    if (kernel) {
      const data = { selector: 0x10, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };
      const code = { selector: 0x08, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b };
      const { segments } = cpu.registers();
      cpu.setRegisters({ segments: { ...segments, cs: code, ss: data, ds: data, es: data } });
    }
    state.setU64(L.SEG_BASE + 4 * 8, BigInt(A.dataPage(1)));
    state.setU64(L.SEG_BASE + 5 * 8, BigInt(A.dataPage(2)));
    state.setU64(L.KERNEL_GS_BASE, BigInt(A.VARIABLES));
    cpu.setRegisters({ gpr, rip: BigInt(landing), cr3: 0x10000n });
    random.scatter(new Uint8Array(state.view.buffer, L.YMM, 512), 0, 512, random.pick(['integer', 'float32', 'float64'] as const));
  }

  /** A device puts memory back as it was in the beginning: `pages` from one on. */
  restore(page: number, pages: number): void {
    const { memory } = this.bench;
    memory.view(page * PAGE, pages * PAGE)!.set(this.#image.subarray(page * PAGE, (page + pages) * PAGE));
    memory.written(page * PAGE, pages * PAGE);
  }

  /** A device changes an immediate in code. */
  mutate(which: number, value: number): void {
    const { mutable } = this.#program;
    if (mutable.length > 0) this.bench.poke(mutable[which % mutable.length]!, [value]);
  }

  /** Sets DR0 and DR7, as a debugger would. */
  break(dr7: number, address: number): void {
    const { state, engine } = this.cpu;
    state.setU64(L.DR, BigInt(address));
    state.setU32(L.DR7, dr7);
    engine.runtime.flushTlb();
  }

  /** Leaves so much room for decoded code. */
  fill(bytes: number): void {
    const { state, engine } = this.cpu;
    state.setU32(L.ARENA_NEXT, Math.max(state.u32(L.ARENA_NEXT), (L.ARENA_END - bytes) & ~31));
    engine.runtime.flushCodeTlb();
  }

  /** In what two machines differ, in words; empty when a guest could not tell them apart. */
  differences(other: LockstepMachine): string[] {
    const found: string[] = [];
    const say = (what: string, mine: unknown, its: unknown): void => {
      if (mine !== its) found.push(`${what}: ${this.name} ${text(mine)}, ${other.name} ${text(its)}`);
    };
    const [a, b] = [this.cpu, other.cpu];
    say('executed', a.executed, b.executed);
    say('rip', a.next, b.next);
    say('rflags', a.rflags, b.rflags);
    say('halted', a.halted, b.halted);
    say('shadow', a.shadow, b.shadow);
    say('nmiBlocked', a.nmiBlocked, b.nmiBlocked);
    for (let n = 0; n < 16; n++) say(REGISTERS[n]!, a.state.gpr(n), b.state.gpr(n));
    for (const [name, from, to] of VISIBLE) {
      const [mine, its] = [a, b].map(({ state }) => Buffer.from(state.view.buffer as ArrayBuffer, from, to - from)) as [Buffer, Buffer];
      if (mine.equals(its)) continue;
      const at = mine.findIndex((byte, n) => byte !== its[n]) & ~7;
      say(`${name} at ${(from + at).toString(16)}`, mine.toString('hex', at, at + 16), its.toString('hex', at, at + 16));
    }
    const [mine, its] = [this, other].map(({ bench }) =>
      Buffer.from(bench.memory.wasm.buffer as ArrayBuffer, bench.memory.ramOffset, MAPPED),
    ) as [Buffer, Buffer];
    if (!mine.equals(its)) {
      let shown = 0;
      for (let at = 0; at < MAPPED && shown < 4; at += 8) {
        if (mine.compare(its, at, at + 8, at, at + 8) === 0) continue;
        say(`memory at ${at.toString(16)}`, mine.toString('hex', at, at + 8), its.toString('hex', at, at + 8));
        shown++;
      }
    }
    return found;
  }
}

const REGISTERS = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const text = (value: unknown): string => (typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value));
