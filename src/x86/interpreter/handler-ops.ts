/**
 * The interpreter's meaning of operations: one wasm function per variant of an encoding, which finds its operands
 * in a decoded record and tail-calls the handler of the record after it.
 */
import { Ops, type Callees, type Variant } from '../ops.ts';
import type { Operand } from '../isa/encoding.ts';
import { RF, TF } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import type { FunctionBuilder, Node } from '../wasm/ir.ts';

const FIELD: Readonly<Record<string, number>> = {
  G: L.R_REG, V: L.R_REG, P: L.R_REG, S: L.R_REG, C: L.R_REG, D: L.R_REG,
  E: L.R_RM, R: L.R_RM, Z: L.R_RM, W: L.R_RM, U: L.R_RM, Q: L.R_RM, N: L.R_RM, T: L.R_RM,
  B: L.R_VVVV, H: L.R_VVVV, X: L.R_VVVV, L: L.R_IMM,
}; // prettier-ignore

export class HandlerOps extends Ops {
  /** Address of the record. */
  readonly record: Node;
  readonly #handlerType: number;
  readonly #number: number;
  #ended = false;

  /**
   * @param number the handler's own
   */
  constructor(b: FunctionBuilder, variant: Variant, callees: Callees, handlerType: number, number: number) {
    super(b, variant, callees);
    this.record = b.params[0]!;
    this.#handlerType = handlerType;
    this.#number = number;
  }

  #field(load: string, offset: number): Node {
    return this.b.load(load, this.record, offset);
  }

  #field16(offset: number): Node {
    return this.#field('i32.load16_u', offset);
  }

  #fieldOf(operand: Operand): Node {
    if (operand.letter === 'X') return this.b.i32(L.YMM);
    return this.#field16(FIELD[operand.letter]!);
  }

  readRegister(operand: Operand, bits: number): Node {
    return this.b.load(bits === 64 ? 'i64.load' : `i64.load${bits}_u`, this.#fieldOf(operand));
  }

  writeRegister(operand: Operand, bits: number, value: Node): void {
    this.#writeAt(this.#fieldOf(operand), 0, bits, value);
  }

  readGpr(number: number, bits: number): Node {
    return this.b.load(bits === 64 ? 'i64.load' : `i64.load${bits}_u`, this.b.i32(0), L.GPR + number * 8);
  }

  writeGpr(number: number, bits: number, value: Node): void {
    this.#writeAt(this.b.i32(0), L.GPR + number * 8, bits, value);
  }

  #writeAt(address: Node, offset: number, bits: number, value: Node): void {
    if (bits === 32) this.b.store('i64.store', address, this.cut(value, 32), offset);
    else this.b.store(bits === 64 ? 'i64.store' : `i64.store${bits}`, address, value, offset);
  }

  immediate(): Node {
    return this.#field('i64.load', L.R_IMM);
  }

  #displacement(): Node {
    return this.#field('i64.load32_s', L.R_DISP);
  }

  effectiveAddress(): Node {
    if (this.variant.memory === 'simple') {
      return this.add(this.b.load('i64.load', this.#field16(L.R_RM)), this.#displacement());
    }
    return this.b.call(this.callees['effectiveAddress']!, this.record);
  }

  linearAddress(bytes: number): Node {
    if (this.variant.memory === 'simple') return this.effectiveAddress();
    const write = this.encoding.operands.some(({ letter, access }) => access !== 'r' && 'EWQMO'.includes(letter));
    return this.b.call(this.callees['linearAddress']!, this.record, this.b.i32(bytes | (write ? 256 : 0)));
  }

  /** Decoded with 64-bit addresses and no segment base. */
  get #plain(): boolean {
    return this.variant.memory === 'simple';
  }

  addressMask(): Node {
    return this.#plain ? this.const(-1) : this.b.call(this.callees['addressMask']!, this.record);
  }

  writeAddressSized(register: number, value: Node): void {
    if (this.#plain) this.writeGpr(register, 64, value);
    else this.b.call(this.callees['writeAddressSized']!, this.record, this.b.i32(L.GPR + register * 8), value);
  }

  segmented(offset: Node, bytes: number): Node {
    return this.#plain ? offset : this.b.call(this.callees['segmented']!, this.segmentNumber(), offset, this.b.i32(bytes));
  }

  extraSegment(offset: Node, bytes: number): Node {
    return this.#plain ? offset : this.b.call(this.callees['segmented']!, this.b.i32(0), offset, this.b.i32(bytes));
  }

  displaced(distance: Node, bytes: number): Node {
    if (this.#plain) return this.add(this.effectiveAddress(), distance);
    return this.b.call(this.callees['displacedAddress']!, this.record, distance, this.b.i32(bytes));
  }

  indexedAddress(element: Node, indexBytes: 4 | 8, bytes: number): Node {
    return this.b.call(this.callees['gatherAddress']!, this.record, element, this.b.i32(indexBytes), this.b.i32(bytes));
  }

  sameVectorRegisters(): Node {
    const { b } = this;
    const [reg, index, third] = [L.R_REG, L.R_INDEX, L.R_VVVV].map((field) => this.#field16(field)) as [Node, Node, Node];
    return b.op('i32.or', b.op('i32.or', b.op('i32.eq', reg, index), b.op('i32.eq', reg, third)), b.op('i32.eq', index, third));
  }

  recordAddress(): Node {
    return this.record;
  }

  position(): Node {
    return this.record;
  }

  segmentNumber(): Node {
    return this.#field('i32.load8_u', L.R_SEGMENT);
  }

  vectorAddress(operand: Operand): Node {
    return this.#fieldOf(operand);
  }

  registerNumber(operand: Operand): Node {
    return this.#fieldOf(operand);
  }

  flagResult(): Node {
    return this.state64(L.FLAG_RES);
  }

  flagAux(): Node {
    return this.state32(L.FLAG_AUX);
  }

  setFlagState(result: Node, aux: Node): void {
    this.setState64(L.FLAG_RES, result);
    this.setState32(L.FLAG_AUX, aux);
  }

  thisAddress(): Node {
    return this.add(this.state64(L.PAGE_BASE), this.#field('i64.load16_u', L.R_OFFSET));
  }

  nextAddress(): Node {
    return this.add(this.thisAddress(), this.#field('i64.load8_u', L.R_LENGTH));
  }

  branchTarget(): Node {
    const target = this.add(this.state64(L.PAGE_BASE), this.immediate());
    if (this.long) return target;
    return this.codeAddress(this.b.call(this.callees['legacyTarget']!, target, this.b.i32(this.variant.operandSize)));
  }

  // Endings

  #tail(name: string, ...args: Node[]): void {
    this.b.returnCall(this.callees[name]!, this.record, ...args);
    // Inside a conditional, the code after it goes on.
    if (this.b.straight) this.#ended = true;
  }

  fault(vector: number, error?: Node): void {
    this.#tail('raise', this.b.i32(vector), error ? this.narrow(error) : this.b.i32(0));
  }

  faultRecorded(): void {
    this.#tail('faulted');
  }

  jumpRelative(): void {
    if (this.long) this.#tail('jumpNear');
    else this.#tail('jumpTo', this.branchTarget());
  }

  branchIf(condition: Node): void {
    const { b } = this;
    b.if(condition, () => this.jumpRelative());
    // For the compiler: what follows has been executed.
    b.store('i32.store8', this.record, b.i32(1), L.R_PASSED);
  }

  jumpTo(linear: Node): void {
    this.#tail('jumpTo', linear);
  }

  jumpWithCheck(linear: Node): void {
    this.#check(linear);
    this.jumpTo(linear);
  }

  #check(next: Node): void {
    const { b } = this;
    const leave = (): void => this.#tail('exitTo', next, b.i32(L.EXIT_CHECK));
    const flags = this.state32(L.RFLAGS);
    b.if(b.op('i32.or', this.state32(L.PENDING), b.op('i32.and', flags, b.i32(TF))), leave);
    // RF covers the next instruction, which is sure to come when the budget has more than a run.
    b.if(b.op('i32.and', flags, b.i32(RF)), () => {
      const left = b.op('i32.sub', this.state32(L.DEADLINE), this.record);
      b.if(b.op('i32.le_s', left, b.i32((L.RUN_LIMIT + 1) * L.RECORD_BYTES)), leave);
      this.setState32(L.RFLAGS, b.op('i32.and', flags, b.i32(~RF)));
    });
  }

  again(): void {
    this.#tail('again', this.b.i32(this.#number));
  }

  system(): void {
    this.#tail('exit', this.b.i32(L.EXIT_SYSTEM));
  }

  nextWithCheck(): void {
    this.#check(this.nextAddress());
  }

  /** Goes on with the record after this one, unless the semantics ended otherwise. */
  next(): void {
    if (this.#ended) return;
    const next = this.b.op('i32.add', this.record, this.b.i32(L.RECORD_BYTES));
    this.b.returnCallIndirect(this.#handlerType, [next], this.b.load('i32.load16_u', next));
  }
}
