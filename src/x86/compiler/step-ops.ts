/**
 * The compiler's meaning of operations: operands are known, general registers are wasm locals, flags are lazy. What is
 * rare or would fault leaves the region before the instruction, and the interpreter does it.
 */
import type { Operand } from '../isa/encoding.ts';
import { CF } from '../flags.ts';
import { Ops, type Callees } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import type { Label, Node, FunctionBuilder, Variable } from '../wasm/ir.ts';
import type { LazyFlags } from './lazy-flags.ts';
import type { Step } from './step.ts';

/** What a step is compiled into. */
export interface Surroundings {
  readonly b: FunctionBuilder;
  readonly flags: LazyFlags;
  /** Linear address of an offset from the region's first page. */
  linear(at: number): Node;
  readGpr(number: number): Node;
  writeGpr(number: number, value: Node): void;
  /** A half of a YMM register by its address in the state. */
  readVector(address: number): Node;
  writeVector(address: number, value: Node): void;
  /** Leaves it in the state, too. */
  showVector(address: number): void;
  /** Address (i32) of the active TLB's table. */
  tlb(write: boolean): Node;
  /** The active TLB may be another one now. */
  tlbChanged(): void;
  /** Record address that straight execution would have reached before the present step. */
  position(): Node;
  /** Leaves before the present step, which the interpreter does. Nothing after it in its scope runs. */
  leave(): void;
  /** The same under a condition (i32); what follows runs when it does not hold. */
  leaveIf(condition: Node): void;
  /** Ends the block: goes on at an offset from the region's first page. */
  goTo(at: number): void;
  branch(condition: Node, taken: number, next: number): void;
  /** Ends the block: goes on at a linear address. */
  jumpTo(linear: Node): void;
}

const CS_OR_DATA = 4;

/** Whether a register's address in the state is that of a YMM register, not of an MMX one. */
const isYmm = (address: number): boolean => address >= L.YMM;

export class StepOps extends Ops {
  protected readonly decoded: Step;
  protected readonly around: Surroundings;
  #flagChanges = 0;

  constructor(step: Step, around: Surroundings, callees: Callees) {
    super(around.b, step.variant, callees);
    this.decoded = step;
    this.around = around;
  }

  // Registers

  /** The register at a state address, as its general register's number and the bit that it begins at. */
  #register(address: number): { number: number; shift: number } {
    const offset = address - L.GPR;
    return { number: offset >> 3, shift: (offset & 7) * 8 };
  }

  #read(address: number, bits: number): Node {
    const { number, shift } = this.#register(address);
    const whole = this.around.readGpr(number);
    return this.cut(this.shr(whole, this.const(shift)), bits);
  }

  #write(address: number, bits: number, value: Node): void {
    const { number, shift } = this.#register(address);
    if (bits >= 32) {
      this.around.writeGpr(number, this.cut(value, bits));
      return;
    }
    const mask = this.mask(bits);
    const rest = this.and(this.around.readGpr(number), this.const(~(mask << BigInt(shift))));
    this.around.writeGpr(number, this.or(rest, this.shl(this.and(value, this.const(mask)), this.const(shift))));
  }

  #addressOf(operand: Operand): number {
    switch (operand.letter) {
      case 'X': return L.YMM;
      case 'B': case 'H': return this.decoded.third;
      case 'L': return Number(this.decoded.immediate);
      case 'G': case 'V': case 'P': case 'S': case 'C': case 'D': return this.decoded.reg;
      default: return this.decoded.rm;
    } // prettier-ignore
  }

  readRegister(operand: Operand, bits: number): Node {
    return this.#read(this.#addressOf(operand), bits);
  }

  writeRegister(operand: Operand, bits: number, value: Node): void {
    this.#write(this.#addressOf(operand), bits, value);
  }

  readGpr(number: number, bits: number): Node {
    return this.#read(L.GPR + number * 8, bits);
  }

  writeGpr(number: number, bits: number, value: Node): void {
    this.#write(L.GPR + number * 8, bits, value);
  }

  vectorAddress(operand: Operand): Node {
    const address = this.#addressOf(operand);
    if (isYmm(address))
      for (let half = 0; half < Math.max(1, this.encoding.vectorBits / 128); half++) this.around.showVector(address + half * 16);
    return this.b.i32(address);
  }

  override readVector(operand: Operand, half: number): Node {
    const address = this.#addressOf(operand);
    return isYmm(address) ? this.around.readVector(address + half * 16) : super.readVector(operand, half);
  }

  override writeVector(operand: Operand, half: number, value: Node): void {
    const address = this.#addressOf(operand);
    if (isYmm(address)) this.around.writeVector(address + half * 16, value);
    else super.writeVector(operand, half, value);
  }

  override writeYmm(number: number, half: number, value: Node): void {
    this.around.writeVector(L.YMM + number * 32 + half * 16, value);
  }

  override isLongMode(): Node {
    return this.b.i32(1);
  }

  registerNumber(operand: Operand): Node {
    return this.b.i32(this.#addressOf(operand));
  }

  sameVectorRegisters(): Node {
    const { reg, index, third } = this.decoded;
    return this.b.i32(reg === index || reg === third || index === third ? 1 : 0);
  }

  immediate(): Node {
    return this.const(this.decoded.immediate);
  }

  override knownByte(): number | undefined {
    return Number(this.decoded.immediate & 0xffn);
  }

  // Addresses

  #base(address: number): Node {
    if (address === L.ZERO) return this.const(0);
    if (address === L.PAGE_BASE) return this.around.linear(this.decoded.at - (this.decoded.at & 0xfff));
    return this.around.readGpr((address - L.GPR) >> 3);
  }

  #displacement(): bigint {
    const { displacement, flags } = this.decoded;
    return BigInt(flags & L.REC_FAR_DISPLACEMENT ? displacement >>> 0 : displacement);
  }

  effectiveAddress(): Node {
    const { flags, rm, index, scale } = this.decoded;
    if (flags & L.REC_ABSOLUTE) return this.immediate();
    let sum = this.#base(rm);
    if (index !== L.ZERO) {
      const scaled = this.shl(this.#base(index), this.const(scale));
      sum = rm === L.ZERO ? scaled : this.add(sum, scaled);
    }
    return this.#cutAddress(this.add(sum, this.const(this.#displacement())));
  }

  #cutAddress(address: Node): Node {
    return this.decoded.flags & L.REC_ADDRESS_32 ? this.cut(address, 32) : address;
  }

  linearAddress(bytes: number): Node {
    return this.segmented(this.effectiveAddress(), bytes);
  }

  addressMask(): Node {
    return this.const(this.decoded.flags & L.REC_ADDRESS_32 ? 0xffffffffn : -1n);
  }

  writeAddressSized(register: number, value: Node): void {
    this.writeGpr(register, this.decoded.flags & L.REC_ADDRESS_32 ? 32 : 64, value);
  }

  segmented(offset: Node, _bytes: number): Node {
    const { segment } = this.decoded;
    if (segment < CS_OR_DATA) return offset;
    // The offset must be canonical by itself, too.
    this.around.leaveIf(this.ne(this.sar(this.shl(offset, this.const(16)), this.const(16)), offset));
    return this.add(this.state64(L.SEG_BASE + segment * 8), offset);
  }

  extraSegment(offset: Node, _bytes: number): Node {
    return offset;
  }

  displaced(distance: Node, bytes: number): Node {
    return this.segmented(this.#cutAddress(this.add(this.effectiveAddress(), distance)), bytes);
  }

  indexedAddress(_element: Node, _indexBytes: 4 | 8, _bytes: number): Node {
    throw new NotCompiled('indexedAddress');
  }

  recordAddress(): Node {
    return this.b.i32(this.decoded.record);
  }

  position(): Node {
    return this.around.position();
  }

  segmentNumber(): Node {
    return this.b.i32(this.decoded.segment);
  }

  // Memory: what misses the TLB is the interpreter's

  override translate(va: Node, bytes: number, write: boolean): Variable {
    const { b } = this;
    const entry = this.tlbEntry(va, this.around.tlb(write));
    this.around.leaveIf(b.op('i64.ge_u', this.xor(b.load('i64.load', entry), va), this.const(4097 - bytes)));
    return b.variable('i32', b.op('i32.add', b.load('i32.load', entry, 8), this.narrow(va)));
  }

  override commit(): void {}

  // Control

  override if(condition: Node, then: (label: Label) => void, otherwise?: () => void): void {
    if (condition.value !== undefined) {
      if (condition.value) this.b.block(then);
      else otherwise?.();
      return;
    }
    const { flags } = this.around;
    const before = flags.now;
    let changes = this.#flagChanges;
    let changed = false;
    // When either arm changes the flags, both leave them in the variables.
    this.b.if(
      condition,
      (label) => {
        then(label);
        changed = this.#flagChanges !== changes;
        if (changed) flags.store();
      },
      () => {
        const after = flags.now;
        flags.now = before;
        changes = this.#flagChanges;
        otherwise?.();
        if (changed || this.#flagChanges !== changes) {
          flags.store();
          changed = true;
        } else flags.now = after;
      },
    );
    flags.now = changed ? { kind: undefined, a: undefined, b: undefined, carry: undefined, stored: true } : before;
  }

  fault(_vector: number, _error?: Node): void {
    this.around.leave();
  }

  faultRecorded(): void {
    this.around.leave();
  }

  system(): void {
    this.around.leave();
  }

  nextAddress(): Node {
    return this.around.linear(this.decoded.at + this.decoded.length);
  }

  thisAddress(): Node {
    return this.around.linear(this.decoded.at);
  }

  /** Offset of the relative target from the region's first page. */
  get #target(): number {
    return this.decoded.at - (this.decoded.at & 0xfff) + Number(this.decoded.immediate);
  }

  branchTarget(): Node {
    return this.around.linear(this.#target);
  }

  jumpRelative(): void {
    this.around.goTo(this.#target);
  }

  branchIf(condition: Node): void {
    this.around.branch(condition, this.#target, this.decoded.at + this.decoded.length);
  }

  jumpTo(linear: Node): void {
    this.around.jumpTo(linear);
  }

  jumpWithCheck(_linear: Node): void {
    throw new NotCompiled('jumpWithCheck');
  }

  nextWithCheck(): void {
    throw new NotCompiled('nextWithCheck');
  }

  again(): void {
    throw new NotCompiled('again');
  }

  override modeChanged(): void {
    super.modeChanged();
    this.around.tlbChanged();
  }

  // Flags

  #set(kind: number, a: Node, b?: Node, carry?: Node): void {
    this.#flagChanges++;
    this.around.flags.set(kind, a, b, carry);
  }

  /** A kind for an operand size. */
  #sized(kind: number, bits: number): number {
    return kind + Math.log2(bits / 8);
  }

  override setFlagState(result: Node, aux: Node): void {
    this.#set(L.LAZY_PLAIN, result, this.wide(aux));
  }

  override flagsLogic(result: Node, bits = this.size): void {
    this.#set(L.LAZY_LOGIC, this.signed(result, bits));
  }

  override flagsAdd(a: Node, b: Node, sum: Node, carryOut?: Node, bits = this.size): void {
    if (!carryOut) this.#set(this.#sized(L.LAZY_ADD, bits), a, b);
    else this.#withCarry(carryOut, () => super.flagsAdd(a, b, sum, carryOut, bits));
  }

  override flagsSub(a: Node, b: Node, difference: Node, borrowOut?: Node, bits = this.size): void {
    if (!borrowOut) this.#set(this.#sized(L.LAZY_SUB, bits), a, b);
    else this.#withCarry(borrowOut, () => super.flagsSub(a, b, difference, borrowOut, bits));
  }

  override flagsStep(direction: 1 | -1, _a: Node, result: Node, carry: Node): void {
    this.#set(this.#sized(direction === 1 ? L.LAZY_INC : L.LAZY_DEC, this.size), result, this.wide(carry));
  }

  override flagsMultiply(a: Node, b: Node): void {
    this.#set(L.LAZY_IMUL, a, b);
  }

  #withCarry(carry: Node, set: () => void): void {
    set();
    const { flags } = this.around;
    flags.now = { ...flags.now, carry: this.wide(carry) };
  }

  /** What is known of the flags; when that is found out at run time only, they are written to the state first. */
  get #known(): { kind: number; a: Node; b: Node } {
    const { flags } = this.around;
    if (flags.now.kind === undefined || flags.now.kind === L.LAZY_IMUL) {
      flags.store();
      this.b.call(this.callees['storeFlags']!, ...flags.arguments());
      this.#flagChanges++;
      flags.inMemory();
    }
    return flags.now as { kind: number; a: Node; b: Node };
  }

  /** Operation (LAZY_ADD, LAZY_SUB, LAZY_INC, LAZY_DEC) and operand size of a sized kind. */
  #operation(kind: number): { operation: number; bits: number } {
    return { operation: kind - ((kind - L.LAZY_ADD) & 3), bits: 8 << ((kind - L.LAZY_ADD) & 3) };
  }

  override flagResult(): Node {
    const { kind, a, b } = this.#known;
    if (kind === L.LAZY_MEMORY) return this.state64(L.FLAG_RES);
    if (kind <= L.LAZY_LOGIC) return a;
    const { operation, bits } = this.#operation(kind);
    return this.signed(operation === L.LAZY_ADD ? this.add(a, b) : operation === L.LAZY_SUB ? this.sub(a, b) : a, bits);
  }

  override flagAux(): Node {
    const { kind, a, b } = this.#known;
    if (kind === L.LAZY_MEMORY) return this.state32(L.FLAG_AUX);
    if (kind === L.LAZY_PLAIN) return this.narrow(b);
    if (kind === L.LAZY_LOGIC) return this.b.i32(0);
    const { operation, bits } = this.#operation(kind);
    const one = this.const(1);
    switch (operation) {
      case L.LAZY_ADD: {
        const sum = this.cut(this.add(a, b), bits);
        return this.auxOfSum(a, b, sum, this.below(sum, a), bits);
      }
      case L.LAZY_SUB:
        return this.auxOfDifference(a, b, this.cut(this.sub(a, b), bits), this.below(a, b), bits);
      case L.LAZY_INC:
        return this.auxOfSum(this.cut(this.sub(a, one), bits), one, a, this.narrow(b), bits);
      default:
        return this.auxOfDifference(this.cut(this.add(a, one), bits), one, a, this.narrow(b), bits);
    }
  }

  override carry(): Node {
    const { now } = this.around.flags;
    if (now.carry) return now.carry;
    const { kind, a, b } = this.#known;
    if (kind === L.LAZY_MEMORY) return super.carry();
    if (kind === L.LAZY_PLAIN) return this.and(b, this.const(CF));
    if (kind === L.LAZY_LOGIC) return this.const(0);
    const { operation, bits } = this.#operation(kind);
    if (operation === L.LAZY_ADD) return this.wide(this.below(this.cut(this.add(a, b), bits), a));
    return operation === L.LAZY_SUB ? this.wide(this.below(a, b)) : b;
  }

  /** An even condition of the difference a - b; undefined for those that ask for more than the order of the two. */
  #comparison(number: number, a: Node, b: Node, bits: number): Node | undefined {
    switch (number) {
      case 2: return this.below(a, b);
      case 4: return this.eq(a, b);
      case 6: return this.b.op('i64.le_u', a, b);
      case 12: return this.less(this.signed(a, bits), this.signed(b, bits));
      case 14: return this.b.op('i64.le_s', this.signed(a, bits), this.signed(b, bits));
      default: return undefined;
    } // prettier-ignore
  }

  protected override compared(number: number): Node | undefined {
    if (number === 2) return this.narrow(this.carry());
    const { kind, a, b } = this.#known;
    if (kind === L.LAZY_MEMORY || kind === L.LAZY_PLAIN) return number === 4 ? this.isZero(this.flagResult()) : undefined;
    if (kind >= L.LAZY_SUB && kind < L.LAZY_INC) {
      const { bits } = this.#operation(kind);
      const order = this.#comparison(number, a, b, bits);
      if (order) return order;
    }
    // Nobody has corrected the result: zero and sign are its own.
    const result = this.flagResult();
    if (number === 4) return this.isZero(result);
    if (number === 8) return this.less(result, this.const(0));
    if (kind === L.LAZY_LOGIC) {
      if (number === 0) return this.b.i32(0);
      if (number === 6) return this.isZero(result);
      if (number === 12) return this.less(result, this.const(0));
      if (number === 14) return this.b.op('i64.le_s', result, this.const(0));
    }
    return undefined;
  }
}

/** The instruction cannot be compiled: the interpreter does it. */
export class NotCompiled extends Error {}
