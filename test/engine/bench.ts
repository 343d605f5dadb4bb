/** A processor on the bench: long mode over identity-mapped 4 KiB pages, an IDT whose gates lead where a test wants. */
import { bareHost } from '../../src/machine/bare-host.ts';
import { Bus } from '../../src/machine/bus.ts';
import { Memory } from '../../src/machine/memory.ts';
import { WaitingVectors } from '../../src/machine/testing/waiting-vectors.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import type { Cpu } from '../../src/x86/cpu.ts';

export const PAGE = 4096;
const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
/** One HLT a vector: where gates lead unless a test says otherwise. */
export const STUBS = 0x4000;
/** Top of the kernel's stack for exceptions from user mode. */
export const KERNEL_STACK = 0x8000;
export const TABLES = 0x10000;
export const CODE = 0x40000;
export const DATA = 0x50000;
export const STACK = 0x60000;
export const RAM = 4 << 20;

export const CODE64 = 0x08;
export const DATA0 = 0x10;
export const CODE64_USER = 0x23;
export const DATA_USER = 0x1b;

export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const ACCESSED = 0x20n;
export const DIRTY = 0x40n;
export const LARGE = 0x80n;
export const GLOBAL = 0x100n;
export const NX = 1n << 63n;

const KERNEL_CODE = { base: 0n, limit: 0xffff_ffff, attributes: 0xa09b };
const DATA_SEGMENT = { base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };
const USER_CODE = { base: 0n, limit: 0xffff_ffff, attributes: 0xa0fb };
const USER_DATA = { base: 0n, limit: 0xffff_ffff, attributes: 0xc0f3 };

export const le = (value: number | bigint, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));

export class Bench {
  readonly memory: Memory;
  readonly cpu: Cpu;
  readonly pio = new Bus('pio');
  readonly mmio = new Bus('mmio');
  /** Vectors of external interrupts that wait to be acknowledged. */
  readonly waiting = new WaitingVectors(() => this.cpu);
  #nextTable = TABLES + PAGE;

  constructor(accelerator: Accelerator) {
    this.memory = new Memory(RAM, accelerator.reservedBytes);
    const { pio, mmio } = this;
    const { acknowledge } = this.waiting;
    this.cpu = accelerator.createVCpu(bareHost(this.memory, { pio, mmio, acknowledge })) as Cpu;
    this.#prepare();
  }

  /** Back to the beginning: empty memory, processor and tables as after construction. Much quicker than a new bench. */
  renew(): this {
    for (const bus of [this.pio, this.mmio]) for (const mapping of [...bus.mappings]) bus.unmap(mapping);
    this.memory.view(0, RAM)!.fill(0);
    this.memory.written(0, RAM);
    this.waiting.clear();
    this.cpu.reset();
    this.#nextTable = TABLES + PAGE;
    this.#prepare();
    return this;
  }

  #prepare(): void {
    for (let gpa = 0; gpa < 0x80000; gpa += PAGE) this.map(BigInt(gpa), gpa, P | RW);
    this.poke64(GDT + 0x08, 0x00af_9b00_0000_ffffn);
    this.poke64(GDT + 0x10, 0x00cf_9300_0000_ffffn);
    this.poke64(GDT + 0x18, 0x00cf_f300_0000_ffffn);
    this.poke64(GDT + 0x20, 0x00af_fb00_0000_ffffn);
    this.poke64(TSS + 4, BigInt(KERNEL_STACK));
    this.poke(
      STUBS,
      Array.from({ length: 256 }, () => 0xf4),
    );
    for (let vector = 0; vector < 256; vector++) this.gate(vector, STUBS + vector);
    this.cpu.setRegisters({
      segments: {
        ...this.cpu.registers().segments,
        cs: { selector: CODE64, ...KERNEL_CODE },
        ss: { selector: DATA0, ...DATA_SEGMENT },
        ds: { selector: DATA0, ...DATA_SEGMENT },
        es: { selector: DATA0, ...DATA_SEGMENT },
        tr: { selector: 0x28, base: BigInt(TSS), limit: 0x67, attributes: 0x8b },
      },
      gdtr: { base: BigInt(GDT), limit: 0x7f },
      idtr: { base: BigInt(IDT), limit: 0xfff },
      cr0: 0x8001_0033n,
      cr3: BigInt(TABLES),
      cr4: 0x6a0n,
      efer: 0xd01n,
      rflags: 2n,
      rip: BigInt(CODE),
      gpr: Array.from({ length: 16 }, (_, n) => (n === 4 ? BigInt(STACK + PAGE) : 0n)),
    });
  }

  /** An interrupt gate of the kernel's, callable from user mode. */
  gate(vector: number, offset: number, type = 0x8e): void {
    const at = IDT + 16 * vector;
    this.poke(at, [...le(offset, 2), ...le(CODE64, 2), 0, type | 0x60, ...le(offset >>> 16, 2)]);
    this.poke64(at + 8, 0n);
  }

  /** Goes on in user mode at an address, with the stack there. */
  enterUser(rip: number, flags = 2n): void {
    this.cpu.setRegisters({
      segments: {
        ...this.cpu.registers().segments,
        cs: { selector: CODE64_USER, ...USER_CODE },
        ss: { selector: DATA_USER, ...USER_DATA },
        ds: { selector: DATA_USER, ...USER_DATA },
        es: { selector: DATA_USER, ...USER_DATA },
      },
      rflags: flags,
      rip: BigInt(rip),
    });
  }

  // Memory as a device sees it

  poke(gpa: number, bytes: readonly number[]): void {
    this.memory.view(gpa, bytes.length)!.set(bytes);
    this.memory.written(gpa, bytes.length);
  }

  poke64(gpa: number, value: bigint): void {
    this.poke(gpa, le(value, 8));
  }

  peek64(gpa: number): bigint {
    return this.memory.data.getBigUint64(this.memory.hostOffset(gpa, 8), true);
  }

  // Page tables, changed behind the processor's back

  /** Guest-physical address of the entry of a linear address at a level (1: 4 KiB pages), its tables made where absent. */
  entry(linear: bigint, level = 1): number {
    let table = TABLES;
    for (let at = 4; at > level; at--) {
      const entry = table + Number((linear >> BigInt(3 + 9 * at)) & 0x1ffn) * 8;
      if (!(this.peek64(entry) & P)) {
        this.poke64(entry, BigInt(this.#nextTable) | P | RW | US);
        this.#nextTable += PAGE;
      }
      table = Number(this.peek64(entry) & 0xf_ffff_f000n);
    }
    return table + Number((linear >> BigInt(3 + 9 * level)) & 0x1ffn) * 8;
  }

  map(linear: bigint, gpa: number, flags: bigint, level = 1): void {
    this.poke64(this.entry(linear, level), BigInt(gpa) | flags);
  }

  // Running

  /** Runs until HLT; answers the linear address behind it. */
  untilHalt(budget = 100_000): number {
    const exit = this.cpu.run(budget);
    if (exit.kind !== 'halt') throw new Error(`expected a halt, not ${exit.kind} at 0x${this.cpu.next.toString(16)}`);
    return Number(this.cpu.next);
  }

  /** Runs until a gate's stub; answers its vector, or undefined for a HLT elsewhere. */
  untilVector(budget = 100_000): number | undefined {
    const vector = this.untilHalt(budget) - 1 - STUBS;
    return vector >= 0 && vector < 256 ? vector : undefined;
  }

  /** Word `n` of the exception frame that RSP points to. */
  frame(n: number): bigint {
    return this.peek64(Number(this.reg(4)) + 8 * n);
  }

  reg(number: number): bigint {
    return this.cpu.state.gpr(number);
  }

  setReg(number: number, value: bigint): void {
    this.cpu.state.setGpr(number, value);
  }

  /** Code at an address, to be run next. */
  load(code: readonly number[], at = CODE): void {
    this.poke(at, code);
    this.cpu.halted = false;
    this.cpu.ip = BigInt(at);
  }

  interrupt(vector: number): void {
    this.waiting.raise(vector);
  }
}
