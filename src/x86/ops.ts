/**
 * What instructions are made of: the operations that the semantics of rows are written in. Integer values are i64
 * nodes, zero-extended from their operand's size. A back end says where registers, immediates and flags live; all
 * else (arithmetic, flag formulas, checked memory access) is here, the same for all.
 *
 * Order matters in one way only: reads and checks precede writes, so that a fault leaves nothing to undo.
 */
import { AF, ARITHMETIC, CF, DF, OF, PF, ZF } from './flags.ts';
import { GP } from './faults.ts';
import type { Encoding, Operand } from './isa/encoding.ts';
import { operandBits } from './isa/encoding.ts';
import * as L from './runtime/layout.ts';
import { SS } from './state.ts';
import type { Node, FunctionBuilder, Variable } from './wasm/ir.ts';
import type { FunctionRef } from './wasm/module.ts';

/** Register numbers in encoding order. */
/** Added to the byte count of an address: its segment must be writable. See runtime/address.ts. */
export const FOR_WRITING = 256;

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** How a memory operand's address is formed. */
export type MemoryKind =
  | 'none' // no memory operand: ModRM names a register, or there is none
  | 'simple' // 64-bit code: base + displacement, no segment base
  | 'general'; // everything else

/** One shape of an encoding that code is generated for. */
export interface Variant {
  readonly encoding: Encoding;
  readonly operandSize: 16 | 32 | 64;
  readonly memory: MemoryKind;
  /** 64-bit code. */
  readonly long: boolean;
  readonly rep: 'none' | 'rep' | 'repne';
}

/** The functions of the runtime and of the module itself that generated code calls. */
export interface Callees {
  [name: string]: FunctionRef;
}

export abstract class Ops {
  readonly b: FunctionBuilder;
  readonly variant: Variant;
  readonly encoding: Encoding;
  readonly callees: Callees;
  /** Operand size in bits. */
  readonly size: number;
  readonly long: boolean;
  /** Host addresses of the memory operand by size. */
  #hosts: Map<number, { host: Variable; written: boolean }> | undefined;
  #linear: Node | undefined;

  constructor(b: FunctionBuilder, variant: Variant, callees: Callees) {
    this.b = b;
    this.variant = variant;
    this.encoding = variant.encoding;
    this.callees = callees;
    this.long = variant.long;
    const bytes =
      this.encoding.row.byteSized || (this.encoding.operands.length > 0 && this.encoding.operands.every(({ size }) => size === 'b'));
    this.size = bytes && !this.encoding.sized ? 8 : variant.operandSize;
  }

  // What a back end provides

  /** A general register named by an operand. */
  abstract readRegister(operand: Operand, bits: number): Node;
  abstract writeRegister(operand: Operand, bits: number, value: Node): void;
  /** A general register by number. */
  abstract readGpr(number: number, bits: number): Node;
  abstract writeGpr(number: number, bits: number, value: Node): void;
  /** The immediate, as the decoder extended it. */
  abstract immediate(): Node;
  /** Effective address of the memory operand, without segment base, cut to the address size. */
  abstract effectiveAddress(): Node;
  /** Linear address of the memory operand; a segment violation makes it one that always faults. */
  abstract linearAddress(bytes: number): Node;
  /** Address (i32) of the vector or MMX register named by an operand, to read it. See `readVector` and `writeVector`. */
  abstract vectorAddress(operand: Operand): Node;
  /** Number (i32) of the x87 register named by an operand, counted from the top. */
  abstract registerNumber(operand: Operand): Node;
  abstract flagResult(): Node;
  abstract flagAux(): Node;
  /** Sets all arithmetic flags: see flags.ts. */
  abstract setFlagState(result: Node, aux: Node): void;
  /** Ends with an exception; nothing after it runs. */
  abstract fault(vector: number, error?: Node): void;
  /** Ends because the runtime found an exception and recorded it. */
  abstract faultRecorded(): void;
  /** Linear address of the next instruction. */
  abstract nextAddress(): Node;
  /** Linear address of this instruction. */
  abstract thisAddress(): Node;
  /** Linear target of the relative branch, checked against CS outside 64-bit code. */
  abstract branchTarget(): Node;
  /** Ends the instruction by going to the relative target. */
  abstract jumpRelative(): void;
  /** Goes to the relative target when the condition (i32) holds, else on. */
  abstract branchIf(condition: Node): void;
  /** Ends the instruction by going to a linear address. */
  abstract jumpTo(linear: Node): void;
  /** As `jumpTo`, but lets a pending interrupt or a single-step trap in first. */
  abstract jumpWithCheck(linear: Node): void;
  /** Ends the instruction; it runs again (one chunk of a repeated string instruction). */
  abstract again(): void;
  /** Ends the instruction as usual, but lets a pending interrupt or a single-step trap in first. */
  abstract nextWithCheck(): void;
  /** Leaves to the system routine of this row. */
  abstract system(): void;
  /** Mask of the address size: of a count or a string pointer. */
  abstract addressMask(): Node;
  /** Writes a register in the width of the address size. */
  abstract writeAddressSized(register: number, value: Node): void;
  /** Linear address of an offset in the segment that prefixes name, by default DS. */
  abstract segmented(offset: Node, bytes: number): Node;
  /** Linear address of an offset in ES. */
  abstract extraSegment(offset: Node, bytes: number): Node;
  /** Linear address of the memory operand moved by some bytes, cut to the address size again: of BT and the like. */
  abstract displaced(distance: Node, bytes: number): Node;
  /** Linear address by element number `element` (i32) of the vector index, which has elements of `indexBytes`. */
  abstract indexedAddress(element: Node, indexBytes: 4 | 8, bytes: number): Node;
  /** Whether any two of the register operand, the vector index and the VEX operand are the same, as i32. */
  abstract sameVectorRegisters(): Node;
  /** The decoded record, for the runtime. */
  abstract recordAddress(): Node;
  /** Where execution is, for the runtime: as a record address, so that the distance to the deadline tells the time. */
  abstract position(): Node;
  /** The segment register number (0…7) of the memory operand, as i32. */
  abstract segmentNumber(): Node;

  /** The immediate's low byte as a number, where code is built for it alone. */
  knownByte(): number | undefined {
    return undefined;
  }

  // Constants and arithmetic on i64

  const(value: bigint | number): Node {
    return this.b.i64(value);
  }

  add(x: Node, y: Node): Node {
    return this.b.op('i64.add', x, y);
  }
  sub(x: Node, y: Node): Node {
    return this.b.op('i64.sub', x, y);
  }
  and(x: Node, y: Node): Node {
    return this.b.op('i64.and', x, y);
  }
  or(x: Node, y: Node): Node {
    return this.b.op('i64.or', x, y);
  }
  xor(x: Node, y: Node): Node {
    return this.b.op('i64.xor', x, y);
  }
  mul(x: Node, y: Node): Node {
    return this.b.op('i64.mul', x, y);
  }
  shl(x: Node, y: Node): Node {
    return this.b.op('i64.shl', x, y);
  }
  /** Logical right shift. */
  shr(x: Node, y: Node): Node {
    return this.b.op('i64.shr_u', x, y);
  }
  /** Arithmetic right shift. */
  sar(x: Node, y: Node): Node {
    return this.b.op('i64.shr_s', x, y);
  }
  not(x: Node): Node {
    return this.xor(x, this.const(-1));
  }
  /** Comparisons give an i32 of 0 or 1. */
  eq(x: Node, y: Node): Node {
    return this.b.op('i64.eq', x, y);
  }
  ne(x: Node, y: Node): Node {
    return this.b.op('i64.ne', x, y);
  }
  isZero(x: Node): Node {
    return this.b.op('i64.eqz', x);
  }
  below(x: Node, y: Node): Node {
    return this.b.op('i64.lt_u', x, y);
  }
  less(x: Node, y: Node): Node {
    return this.b.op('i64.lt_s', x, y);
  }
  /** i32 to i64, unsigned. */
  wide(x: Node): Node {
    return this.b.op('i64.extend_i32_u', x);
  }
  /** i64 to i32, cutting. */
  narrow(x: Node): Node {
    return this.b.op('i32.wrap_i64', x);
  }
  select(whenTrue: Node, whenFalse: Node, condition: Node): Node {
    return this.b.op('i64.select', whenTrue, whenFalse, condition);
  }
  /** i32 negation of a condition. */
  isFalse(x: Node): Node {
    return this.b.op('i32.eqz', x);
  }

  mask(bits: number): bigint {
    return (1n << BigInt(bits)) - 1n;
  }

  /** Cuts to the low `bits`, zero-extended. */
  cut(x: Node, bits = this.size): Node {
    if (bits >= 64) return x;
    return bits === 32 ? this.wide(this.narrow(x)) : this.and(x, this.const(this.mask(bits)));
  }

  /** Sign-extends the low `bits` to 64. */
  signed(x: Node, bits = this.size): Node {
    if (bits === 64) return x;
    if (bits === 32) return this.b.op('i64.extend32_s', x);
    if (bits === 16) return this.b.op('i64.extend16_s', x);
    if (bits === 8) return this.b.op('i64.extend8_s', x);
    const distance = this.const(64 - bits);
    return this.sar(this.shl(x, distance), distance);
  }

  // State that is not a register

  state32(address: number): Node {
    return this.b.load('i32.load', this.b.i32(0), address);
  }
  state64(address: number): Node {
    return this.b.load('i64.load', this.b.i32(0), address);
  }
  setState32(address: number, value: Node): void {
    this.b.store('i32.store', this.b.i32(0), value, address);
  }
  setState64(address: number, value: Node): void {
    this.b.store('i64.store', this.b.i32(0), value, address);
  }

  // Operands

  operand(i: number): Operand {
    return this.encoding.operands[i]!;
  }

  /** Bits of operand `i`. */
  bits(i: number): number {
    return operandBits(this.operand(i).size, this.variant.operandSize, this.encoding.vectorBits);
  }

  isMemory(i: number): boolean {
    const { letter } = this.operand(i);
    return letter === 'M' || letter === 'O' || (this.variant.memory !== 'none' && 'EWQ'.includes(letter));
  }

  /** An integer operand's value, zero-extended. */
  get(i: number): Node {
    const operand = this.operand(i);
    const bits = this.bits(i);
    if (operand.letter === 'I') return this.immediate();
    if (operand.letter === 'K') return this.const(1);
    if (this.isMemory(i)) return this.loadHost(this.host(operand.access !== 'r', bits / 8), bits);
    if (operand.letter === 'F') return this.readGpr(operand.fixed, bits);
    return this.readRegister(operand, bits);
  }

  /** Writes an integer operand; the value is cut to its size. A 32-bit register write clears the upper half. */
  set(i: number, value: Node): void {
    const operand = this.operand(i);
    const bits = this.bits(i);
    if (this.isMemory(i)) {
      const host = this.host(true, bits / 8, operand.access === 'w');
      this.storeHost(host, bits, value);
      this.commit(host);
    } else if (operand.letter === 'F') this.writeGpr(operand.fixed, bits, value);
    else this.writeRegister(operand, bits, value);
  }

  /**
   * Host address of the memory operand, translated and checked once for reading or for writing.
   * @param blind what is there now will not be read
   */
  host(write: boolean, bytes: number, blind = false): Variable {
    const known = this.#hosts?.get(bytes);
    if (known && (known.written || !write)) return known.host;
    const host = this.translate(this.linear(bytes), bytes, write, undefined, blind);
    (this.#hosts ??= new Map<number, { host: Variable; written: boolean }>()).set(bytes, { host, written: write });
    return host;
  }

  linear(bytes: number): Node {
    return (this.#linear ??= this.linearAddress(bytes));
  }

  // Checked memory access

  /** Address of the entry for a linear address in the TLB whose table is at an address. */
  protected tlbEntry(va: Node, table: Node): Node {
    const { b } = this;
    return b.op('i32.add', table, b.op('i32.and', this.narrow(this.shr(va, this.const(8))), b.i32((L.TLB_ENTRIES - 1) << 4)));
  }

  /**
   * Host address of `bytes` at a linear address; faults when the access is not allowed.
   * @param segment whose fault it is; the memory operand's if undefined
   */
  translate(va: Node, bytes: number, write: boolean, segment?: number, blind = false): Variable {
    const { b } = this;
    const entry = this.tlbEntry(va, this.state32(write ? L.TLB_WRITE : L.TLB_READ));
    const host = b.variable('i32');
    b.if(
      this.below(this.xor(b.load('i64.load', entry), va), this.const(4097 - bytes)),
      () => b.set(host, b.op('i32.add', b.load('i32.load', entry, 8), this.narrow(va))),
      () => {
        const size = bytes | (write && !blind ? 64 : 0) | (this.encoding.row.elementwise ? 128 : 0);
        const number = segment === undefined ? b.op('i32.shl', this.segmentNumber(), b.i32(8)) : b.i32(segment << 8);
        const flags = b.op('i32.or', b.i32(size), number);
        this.tellPosition();
        b.set(host, b.call(this.callees[write ? 'slowWrite' : 'slowRead']!, va, flags));
        b.if(this.isFalse(b.get(host)), () => this.faultRecorded());
      },
    );
    return host;
  }

  /** Before the runtime accesses memory: a device may ask how many instructions have run. */
  tellPosition(): void {
    this.setState32(L.EXIT_RECORD, this.position());
  }

  loadHost(host: Variable, bits: number, offset = 0): Node {
    return this.b.load(bits === 64 ? 'i64.load' : `i64.load${bits}_u`, this.b.get(host), offset);
  }

  storeHost(host: Variable, bits: number, value: Node, offset = 0): void {
    this.b.store(bits === 64 ? 'i64.store' : `i64.store${bits}`, this.b.get(host), value, offset);
  }

  /** Finishes a write: what went to the bounce buffer is sent where it belongs. */
  commit(host: Variable): void {
    this.b.if(this.b.op('i32.lt_u', this.b.get(host), this.b.i32(L.BOUNCE_END)), () => this.b.call(this.callees['commit']!));
  }

  readMemory(va: Node, bits: number, segment?: number): Node {
    return this.loadHost(this.translate(va, bits / 8, false, segment), bits);
  }

  writeMemory(va: Node, bits: number, value: Node, segment?: number): void {
    const host = this.translate(va, bits / 8, true, segment, true);
    this.storeHost(host, bits, value);
    this.commit(host);
  }

  // Control

  if(condition: Node, then: () => void, otherwise?: () => void): void {
    this.b.if(condition, then, otherwise);
  }

  /** #GP(0) unless the current privilege level is 0. */
  requireCpl0(): void {
    this.if(this.state32(L.CPL), () => this.fault(GP, this.const(0)));
  }

  // Flags

  /** CF as i64 0 or 1. */
  carry(): Node {
    return this.and(this.wide(this.flagAux()), this.const(CF));
  }

  /** Result flags of `result`, and CF, AF and OF from `aux` (i32, at their places). */
  setFlags(result: Node, aux: Node, bits = this.size): void {
    this.setFlagState(this.signed(result, bits), aux);
  }

  /** OF at its place from a value whose top operand bit is the flag. */
  #overflowFrom(x: Node, bits: number): Node {
    const at = this.narrow(bits >= 12 ? this.shr(x, this.const(bits - 12)) : this.shl(x, this.const(12 - bits)));
    return this.b.op('i32.and', at, this.b.i32(OF));
  }

  #adjustFrom(x: Node): Node {
    return this.b.op('i32.and', this.narrow(x), this.b.i32(AF));
  }

  aux(...parts: readonly Node[]): Node {
    return parts.reduce((x, y) => this.b.op('i32.or', x, y));
  }

  /** CF, AF and OF of sum = a + b (+ carry), in their places. */
  #auxOfSum(a: Node, b: Node, sum: Node, carryOut: Node, bits: number): Node {
    const overflow = this.#overflowFrom(this.and(this.xor(a, sum), this.xor(b, sum)), bits);
    return this.aux(carryOut, this.#adjustFrom(this.xor(this.xor(a, b), sum)), overflow);
  }

  /** CF, AF and OF of difference = a - b (- borrow), in their places. */
  #auxOfDifference(a: Node, b: Node, difference: Node, borrowOut: Node, bits: number): Node {
    const overflow = this.#overflowFrom(this.and(this.xor(a, b), this.xor(a, difference)), bits);
    return this.aux(borrowOut, this.#adjustFrom(this.xor(this.xor(a, b), difference)), overflow);
  }

  /** Flags of sum = a + b (+ carry): `carryOut` (i32) defaults to sum < a. */
  flagsAdd(a: Node, b: Node, sum: Node, carryOut?: Node, bits = this.size): void {
    this.setFlags(sum, this.#auxOfSum(a, b, sum, carryOut ?? this.below(sum, a), bits), bits);
  }

  /** Flags of difference = a - b (- borrow): `borrowOut` (i32) defaults to a < b. */
  flagsSub(a: Node, b: Node, difference: Node, borrowOut?: Node, bits = this.size): void {
    this.setFlags(difference, this.#auxOfDifference(a, b, difference, borrowOut ?? this.below(a, b), bits), bits);
  }

  /** Flags of result = a + 1 or a - 1 with CF (i32) as it was. */
  flagsStep(direction: 1 | -1, a: Node, result: Node, carry: Node): void {
    if (direction === 1) this.flagsAdd(a, this.const(1), result, carry);
    else this.flagsSub(a, this.const(1), result, carry);
  }

  /** CF = OF = the product does not fit its low half; the others are undefined, ours follow the low half. */
  productFlags(low: Node, high: Node, bits: number, signed: boolean): void {
    const expected = signed ? this.cut(this.sar(this.signed(low, bits), this.const(63)), bits) : this.const(0);
    this.setFlags(low, this.b.op('i32.select', this.b.i32(CF | OF), this.b.i32(0), this.ne(high, expected)), bits);
  }

  /** The same of the signed product of 64-bit numbers. */
  flagsMultiply(a: Node, b: Node): void {
    this.productFlags(this.mul(a, b), this.b.call(this.callees['smulh']!, a, b), 64, true);
  }

  /** Flags of AND, OR, XOR, TEST: CF and OF clear; AF (undefined) clear. */
  flagsLogic(result: Node, bits = this.size): void {
    this.setFlags(result, this.b.i32(0), bits);
  }

  /** Arithmetic flags at their places in RFLAGS, as i32. */
  packFlags(): Node {
    const { b } = this;
    const result = this.flagResult();
    const parity = b.op('i32.and', b.op('i32.popcnt', b.op('i32.and', this.narrow(result), b.i32(0xff))), b.i32(1));
    const p = b.op('i32.shl', b.op('i32.xor', parity, b.i32(1)), b.i32(2));
    const z = b.op('i32.shl', this.isZero(result), b.i32(6));
    const s = b.op('i32.shl', this.narrow(this.shr(result, this.const(63))), b.i32(7));
    return b.op('i32.xor', this.aux(p, z, s), this.flagAux());
  }

  /** Sets all arithmetic flags from their places in an i32. */
  unpackFlags(flags: Node): void {
    const { b } = this;
    const zero = b.op('i32.and', flags, b.i32(ZF));
    const fix = b.op('i32.select', b.i32(PF), b.i32(0), zero);
    const aux = b.op('i32.and', b.op('i32.xor', flags, fix), b.i32(ARITHMETIC ^ ZF));
    this.setFlagState(this.wide(b.op('i32.eqz', zero)), aux);
  }

  /** Changes some arithmetic flags (a mask) and keeps the others. */
  changeFlags(changed: number, values: Node): void {
    const { b } = this;
    if ((changed & ~(CF | AF | OF)) === 0) {
      this.setFlagState(this.flagResult(), b.op('i32.or', b.op('i32.and', this.flagAux(), b.i32(~changed)), values));
    } else {
      this.unpackFlags(b.op('i32.or', b.op('i32.and', this.packFlags(), b.i32(~changed)), values));
    }
  }

  /** A condition by its number in encodings (0 O … 15 G), as i32: zero or non-zero. */
  condition(number: number): Node {
    const { b } = this;
    const test = this.#condition(number & ~1);
    return number & 1 ? b.op('i32.eqz', test) : test;
  }

  #condition(number: number): Node {
    const { b } = this;
    const auxBit = (bit: number): Node => b.op('i32.and', this.flagAux(), b.i32(bit));
    const zero = (): Node => this.isZero(this.flagResult());
    /** SF as i32 0 or 1. */
    const sign = (): Node =>
      b.op(
        'i32.xor',
        this.narrow(this.shr(this.flagResult(), this.const(63))),
        b.op('i32.and', b.op('i32.shr_u', this.flagAux(), b.i32(7)), b.i32(1)),
      );
    const less = (): Node => b.op('i32.xor', sign(), b.op('i32.and', b.op('i32.shr_u', this.flagAux(), b.i32(11)), b.i32(1)));
    switch (number) {
      case 0: return auxBit(OF);
      case 2: return auxBit(CF);
      case 4: return zero();
      case 6: return b.op('i32.or', auxBit(CF), zero());
      case 8: return sign();
      case 10: return b.op('i32.and', this.packFlags(), b.i32(PF));
      case 12: return less();
      default: return b.op('i32.or', less(), zero());
    } // prettier-ignore
  }

  /** -1 when DF is set, else 1, times `bytes`, as i64. */
  step(bytes: number): Node {
    const down = this.b.op('i32.and', this.state32(L.RFLAGS), this.b.i32(DF));
    return this.select(this.const(-bytes), this.const(bytes), down);
  }

  /** AC in RFLAGS is part of what chooses the TLB: tells the runtime that RFLAGS or CPL changed. */
  modeChanged(): void {
    this.b.call(this.callees['selectTlb']!);
  }

  // Stack

  /** Pushes `bits` at a time: nothing is written when it faults. */
  push(value: Node, bits: number): void {
    const pointer = this.sub(this.readGpr(RSP, 64), this.const(bits / 8));
    this.pushAt(pointer, value, bits);
    this.setStackPointer(pointer);
  }

  /** Faults now if a push of `bits` would. */
  probePush(bits: number): void {
    const pointer = this.sub(this.readGpr(RSP, 64), this.const(bits / 8));
    this.translate(this.#checkedStack(pointer, bits / 8, true), bits / 8, true, SS, true);
  }

  /** Writes to the stack at an offset pointer, checking SS outside 64-bit code; RSP stays. */
  pushAt(pointer: Node, value: Node, bits: number): void {
    this.writeMemory(this.#checkedStack(pointer, bits / 8, true), bits, value, SS);
  }

  /** Value at the stack pointer plus `offset`; RSP stays. */
  peek(bits: number, offset = 0): Node {
    return this.readMemory(this.#checkedStack(this.add(this.readGpr(RSP, 64), this.const(offset)), bits / 8, false), bits, SS);
  }

  #checkedStack(pointer: Node, bytes: number, write: boolean): Node {
    if (this.long) return pointer;
    return this.b.call(this.callees['stackAddress']!, pointer, this.b.i32(bytes), this.b.i32(write ? 1 : 0));
  }

  /** Sets the stack pointer in its width; the other bits stay. */
  setStackPointer(pointer: Node): void {
    if (this.long) return this.writeGpr(RSP, 64, pointer);
    const mask = this.wide(this.state32(L.STACK_MASK));
    const old = this.readGpr(RSP, 64);
    this.writeGpr(RSP, 64, this.or(this.and(pointer, mask), this.and(old, this.not(mask))));
  }

  pop(bits: number): Node {
    const value = this.peek(bits);
    this.setStackPointer(this.add(this.readGpr(RSP, 64), this.const(bits / 8)));
    return value;
  }

  /**
   * Linear address of a code offset: CS base is zero in 64-bit code. Faults beyond CS's limit or when not canonical.
   * @param first checks that come before that fault
   */
  codeAddress(offset: Node, first: () => void = () => {}): Node {
    const refuse = (): void => {
      first();
      this.fault(GP, this.const(0));
    };
    if (this.long) {
      const canonical = this.sar(this.shl(offset, this.const(16)), this.const(16));
      this.if(this.ne(canonical, offset), refuse);
      return offset;
    }
    this.if(this.b.op('i64.gt_u', offset, this.wide(this.state32(L.SEG_LIMIT + 4))), refuse);
    return this.cut(this.add(offset, this.state64(L.SEG_BASE + 8)), 32);
  }

  /** Code offset (what is pushed as the return address) of a linear address. */
  codeOffset(linear: Node): Node {
    if (this.long) return linear;
    return this.cut(this.sub(linear, this.state64(L.SEG_BASE + 8)), 32);
  }

  // Vectors

  /** Operand `i` as 128-bit halves: one for XMM, two for YMM. */
  getVector(i: number): Node[] {
    const bits = this.bits(i);
    const count = Math.max(1, bits / 128);
    if (this.isMemory(i)) {
      const host = this.host(this.operand(i).access !== 'r', bits / 8);
      if (bits < 128) return [this.b.load(bits === 64 ? 'v128.load64_zero' : 'v128.load32_zero', this.b.get(host))];
      return Array.from({ length: count }, (_, n) => this.b.load('v128.load', this.b.get(host), n * 16));
    }
    return Array.from({ length: count }, (_, n) => this.readVector(this.operand(i), n));
  }

  /** A half of the vector register named by an operand, the low one (0) or the upper one; or all of an MMX register, with what lies above. */
  readVector(operand: Operand, half: number): Node {
    return this.b.load('v128.load', this.vectorAddress(operand), half * 16);
  }

  writeVector(operand: Operand, half: number, value: Node): void {
    this.b.store('v128.store', this.vectorAddress(operand), value, half * 16);
  }

  /** A half of a YMM register by the register's number. */
  writeYmm(number: number, half: number, value: Node): void {
    this.b.store('v128.store', this.b.i32(0), value, L.YMM + number * 32 + half * 16);
  }

  /** Whether this is 64-bit code, as i32, for rows that are the same in all modes. */
  isLongMode(): Node {
    return this.b.op('i32.eq', this.state32(L.CODE_MODE), this.b.i32(2));
  }

  /** Writes a vector register or memory. VEX-encoded writes clear the register above what they write; others keep it. */
  setVector(i: number, halves: readonly Node[]): void {
    if (this.isMemory(i)) {
      const host = this.host(true, halves.length * 16);
      halves.forEach((half, n) => this.b.store('v128.store', this.b.get(host), half, n * 16));
      this.commit(host);
      return;
    }
    const operand = this.operand(i);
    halves.forEach((half, n) => this.writeVector(operand, n, half));
    if (this.encoding.vex && halves.length === 1) this.writeVector(operand, 1, this.b.v128(0n, 0n));
  }

  /** #GP(0) when the 16- or 32-byte memory operand is not aligned, as legacy SSE and MOVAPS demand. */
  requireAligned(bytes: number): void {
    if (this.variant.memory === 'none') return;
    this.if(this.narrow(this.and(this.linear(bytes), this.const(bytes - 1))), () => this.fault(GP, this.const(0)));
  }
}
