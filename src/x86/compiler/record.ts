/**
 * The compiler's meaning of operations: building them writes down a template, from which runtime/compile builds code for each instruction of that
 * shape. What depends on the decoded instruction or on the region around it is an operation of its own there: see codes.ts. General registers are
 * WebAssembly's locals, flags are lazy. What is rare or would fault leaves the region before the instruction, and the interpreter does it.
 */
import type { Operand } from '../isa/encoding.ts';
import { Ops, type Callees, type Variant } from '../ops.ts';
import * as C from '../runtime/compile/codes.ts';
import * as L from '../runtime/layout.ts';
import { fold } from '../wasm/fold.ts';
import { FunctionBuilder, Node, type Label, type Variable } from '../wasm/ir.ts';
import type { FunctionRef } from '../wasm/module.ts';
import { LOADS, OPERATIONS, STORES, VALTYPE_CODE, type ValType } from '../wasm/opcodes.ts';

/** The instruction cannot be compiled: the interpreter does it. */
export class NotCompiled extends Error {}

/** As ir.ts has them: what folding looks at. */
const CONST = 0;
const PURE = 2;

const NO_CODE: readonly number[] = [];

/** An opcode as one number. */
function numberOf(code: readonly number[]): number {
  const [first, low = 0, high = 0] = code;
  if (first === 0xfd || first === 0xfc) return (first === 0xfd ? C.PREFIX_FD : C.PREFIX_FC) | (low & 0x7f) | (high << 7);
  return first!;
}

function wordsOf(bytes: readonly number[]): number[] {
  const words: number[] = Array.from({ length: Math.ceil(bytes.length / 4) }, () => 0);
  bytes.forEach((byte, n) => (words[n >> 2]! |= byte << ((n & 3) * 8)));
  return words;
}

/** Writes down what is built. A node's `local` is its slot. */
class TemplateBuilder extends FunctionBuilder {
  words: number[] = [];
  slots = 0;
  /** Constructs around what is built now. */
  depth = 0;

  constructor() {
    super({ params: [], results: [] });
  }

  put(...words: readonly number[]): void {
    for (const word of words) this.words.push(word | 0);
  }

  value(type: ValType, value?: bigint | number, kind = PURE): Node {
    const node = new Node(kind, type, NO_CODE, [], 0, undefined, 0, 0, value);
    node.local = this.slots++;
    return node;
  }

  /** Writes down an operation whose value has the next slot. */
  define(type: ValType, code: number, ...words: readonly number[]): Node {
    const node = this.value(type);
    this.put(code, node.local, ...words);
    return node;
  }

  override i32(value: number): Node {
    const node = this.value('i32', value | 0, CONST);
    this.put(C.T_I32, node.local, value);
    return node;
  }

  override i64(value: bigint | number): Node {
    const wide = BigInt.asIntN(64, BigInt(value));
    const node = this.value('i64', wide, CONST);
    this.put(C.T_I64, node.local, Number(BigInt.asIntN(32, wide)), Number(wide >> 32n));
    return node;
  }

  #bytes(type: ValType, code: number, bytes: readonly number[]): Node {
    return this.define(type, C.T_BYTES, VALTYPE_CODE[type], code, bytes.length, ...wordsOf(bytes));
  }

  override f64(value: number): Node {
    return this.#bytes('f64', 0x44, [...new Uint8Array(new Float64Array([value]).buffer)]);
  }

  override v128(low: bigint, high: bigint): Node {
    const bytes = new Uint8Array(new BigUint64Array([BigInt.asUintN(64, low), BigInt.asUintN(64, high)]).buffer);
    return this.#bytes('v128', C.PREFIX_FD | 12, [...bytes]);
  }

  override op(name: string, ...operands: readonly (Node | number)[]): Node {
    const operation = OPERATIONS.get(name);
    if (!operation) throw new Error(`bug: no wasm operation ${name}`);
    const { params, code, result, lanes } = operation;
    if (operands.length !== params.length + lanes) throw new Error(`bug: ${name}: wrong number of operands`);
    const args = operands.slice(0, params.length) as Node[];
    args.forEach(({ type }, i) => {
      if (type !== params[i]) throw new Error(`bug: ${name}: operand ${i} is ${type}, not ${params[i]}`);
    });
    const slots = args.map(({ local }) => local);
    const head = [VALTYPE_CODE[result], numberOf(code)];
    if (lanes > 0)
      return this.define(result, C.T_LANES, ...head, lanes, slots.length, ...slots, ...wordsOf(operands.slice(params.length) as number[]));
    // What depends on the instruction is folded when code is built.
    const folded = args.every(({ value }) => value !== undefined) ? fold(name, args) : undefined;
    if (folded instanceof Node) return folded;
    if (folded !== undefined) return typeof folded === 'bigint' ? this.i64(folded) : this.i32(folded);
    return this.define(result, [C.T_OP1, C.T_OP2, C.T_OP3][slots.length - 1]!, ...head, ...slots);
  }

  override load(name: string, address: Node, offset = 0): Node {
    const { code, type } = LOADS.get(name)!;
    return this.define(type, C.T_LOAD, VALTYPE_CODE[type], numberOf(code), address.local, offset);
  }

  override store(name: string, address: Node, value: Node, offset = 0): void {
    this.put(C.T_STORE, numberOf(STORES.get(name)!.code), address.local, value.local, offset);
  }

  override call(callee: FunctionRef, ...args: readonly Node[]): Node {
    const { params, results } = callee.signature;
    if (args.length !== params.length || args.some((arg, i) => arg.type !== params[i])) throw new Error('bug: call with wrong arguments');
    const [result] = results;
    const node = result ? this.value(result) : undefined;
    this.put(C.T_CALL, node?.local ?? -1, result ? VALTYPE_CODE[result] : 0, callee.index, args.length, ...args.map(({ local }) => local));
    return node ?? this.value('i32');
  }

  override variable(type: ValType, initial?: Node): Variable {
    const variable = { type, local: this.slots++ };
    this.put(C.T_VAR, variable.local, VALTYPE_CODE[type]);
    if (initial) this.set(variable, initial);
    return variable;
  }

  override get(variable: Variable): Node {
    return this.define(variable.type, C.T_GET, VALTYPE_CODE[variable.type], variable.local);
  }

  override set(variable: Variable, value: Node): void {
    if (value.type !== variable.type) throw new Error(`bug: a ${variable.type} variable is set to ${value.type}`);
    this.put(C.T_SET, variable.local, value.local);
  }

  /** What a body writes down, which begins behind what there is; its length is put at `at`. */
  #measured(at: number, body: () => void): void {
    const before = this.words.length;
    this.depth++;
    body();
    this.depth--;
    this.words[at] = this.words.length - before;
  }

  override if(condition: Node, then: (label: Label) => void, otherwise?: () => void): void {
    this.choose(C.T_IF, condition, then, otherwise);
  }

  choose(code: number, condition: Node, then: (label: Label) => void, otherwise?: () => void): void {
    const label = this.slots++;
    const at = this.words.length;
    this.put(code, condition.local, label, 0, -1);
    this.#measured(at + 3, () => then({ depth: label }));
    if (otherwise) this.#measured(at + 4, otherwise);
  }

  #construct(code: number, body: (label: Label) => void): void {
    const label = this.slots++;
    const at = this.words.length;
    this.put(code, label, 0);
    this.#measured(at + 2, () => body({ depth: label }));
  }

  override block(body: (label: Label) => void): void {
    this.#construct(C.T_BLOCK, body);
  }

  override loop(body: (label: Label) => void): void {
    this.#construct(C.T_LOOP, body);
  }

  override br(label: Label): void {
    this.put(C.T_BR, label.depth);
  }

  override brIf(label: Label, condition: Node): void {
    this.put(C.T_BR_IF, label.depth, condition.local);
  }
}

/** What is known of the flags, of which only so much matters here. */
type FlagsKnown = 'before' | 'set' | 'unknown' | 'memory';

class TemplateOps extends Ops {
  declare readonly b: TemplateBuilder;
  ending: number | undefined;
  leaves = false;
  looksAtFlags = false;
  flags: FlagsKnown = 'before';
  /** It has been built for its immediate's low byte. */
  forByte = false;
  readonly #byte: number;
  #flagChanges = 0;

  constructor(variant: Variant, byte: number, callees: Callees) {
    super(new TemplateBuilder(), variant, callees);
    this.#byte = byte;
  }

  // Registers

  #fieldOf(operand: Operand): number {
    switch (operand.letter) {
      case 'X': return C.FIELD_XMM0;
      case 'B': case 'H': return C.FIELD_THIRD;
      case 'L': return C.FIELD_IMMEDIATE;
      case 'G': case 'V': case 'P': case 'S': case 'C': case 'D': return C.FIELD_REG;
      default: return C.FIELD_RM;
    } // prettier-ignore
  }

  readRegister(operand: Operand, bits: number): Node {
    return this.b.define('i64', C.T_READ_REGISTER, this.#fieldOf(operand), bits);
  }

  writeRegister(operand: Operand, bits: number, value: Node): void {
    this.b.put(C.T_WRITE_REGISTER, this.#fieldOf(operand), bits, value.local);
  }

  readGpr(number: number, bits: number): Node {
    return this.b.define('i64', C.T_READ_GPR, number, bits);
  }

  writeGpr(number: number, bits: number, value: Node): void {
    this.b.put(C.T_WRITE_GPR, number, bits, value.local);
  }

  vectorAddress(operand: Operand): Node {
    const halves = Math.max(1, this.encoding.vectorBits / 128);
    return this.b.define('i32', C.T_VECTOR_ADDRESS, this.#fieldOf(operand), halves);
  }

  override readVector(operand: Operand, half: number): Node {
    return this.b.define('v128', C.T_READ_VECTOR, this.#fieldOf(operand), half);
  }

  override writeVector(operand: Operand, half: number, value: Node): void {
    this.b.put(C.T_WRITE_VECTOR, this.#fieldOf(operand), half, value.local);
  }

  override writeYmm(number: number, half: number, value: Node): void {
    this.b.put(C.T_WRITE_YMM, L.YMM + number * 32 + half * 16, value.local);
  }

  override isLongMode(): Node {
    return this.b.i32(1);
  }

  registerNumber(operand: Operand): Node {
    return this.b.define('i32', C.T_REGISTER_NUMBER, this.#fieldOf(operand));
  }

  sameVectorRegisters(): Node {
    return this.b.define('i32', C.T_SAME_VECTORS);
  }

  immediate(): Node {
    return this.b.define('i64', C.T_IMMEDIATE);
  }

  override knownByte(): number {
    this.forByte = true;
    return this.#byte;
  }

  // Addresses

  effectiveAddress(): Node {
    return this.b.define('i64', C.T_EFFECTIVE);
  }

  linearAddress(bytes: number): Node {
    return this.segmented(this.effectiveAddress(), bytes);
  }

  addressMask(): Node {
    return this.b.define('i64', C.T_ADDRESS_MASK);
  }

  writeAddressSized(register: number, value: Node): void {
    this.b.put(C.T_WRITE_ADDRESS_SIZED, register, value.local);
  }

  segmented(offset: Node, _bytes: number): Node {
    this.leaves = true;
    return this.b.define('i64', C.T_SEGMENTED, offset.local);
  }

  extraSegment(offset: Node, _bytes: number): Node {
    return offset;
  }

  displaced(distance: Node, bytes: number): Node {
    const sum = this.add(this.effectiveAddress(), distance);
    return this.segmented(this.b.define('i64', C.T_CUT_ADDRESS, sum.local), bytes);
  }

  indexedAddress(_element: Node, _indexBytes: 4 | 8, _bytes: number): Node {
    throw new NotCompiled('indexedAddress');
  }

  recordAddress(): Node {
    return this.b.define('i32', C.T_RECORD);
  }

  position(): Node {
    return this.b.define('i32', C.T_POSITION);
  }

  segmentNumber(): Node {
    return this.b.define('i32', C.T_SEGMENT_NUMBER);
  }

  // Memory: what misses the TLB is the interpreter's

  override translate(va: Node, bytes: number, write: boolean): Variable {
    const { b } = this;
    const entry = this.tlbEntry(va, b.define('i32', C.T_TLB, write ? 1 : 0));
    this.leaves = true;
    const miss = b.op('i64.ge_u', this.xor(b.load('i64.load', entry), va), this.const(4097 - bytes));
    b.put(C.T_LEAVE_IF, miss.local);
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
    const before = this.#flagChanges;
    const { flags } = this;
    this.b.choose(C.T_CHOOSE, condition, then, () => {
      this.flags = flags;
      otherwise?.();
    });
    this.flags = this.#flagChanges === before ? flags : 'unknown';
  }

  #leave(): void {
    this.leaves = true;
    this.b.put(C.T_LEAVE);
  }

  fault(_vector: number, _error?: Node): void {
    this.#leave();
  }

  faultRecorded(): void {
    this.#leave();
  }

  system(): void {
    this.#leave();
  }

  nextAddress(): Node {
    return this.b.define('i64', C.T_NEXT_ADDRESS);
  }

  thisAddress(): Node {
    return this.b.define('i64', C.T_THIS_ADDRESS);
  }

  branchTarget(): Node {
    return this.b.define('i64', C.T_BRANCH_TARGET);
  }

  /** How an instruction ends is the last of its template. */
  #end(code: number, ...words: readonly number[]): void {
    if (this.b.depth > 0) throw new NotCompiled('ends under a condition');
    this.ending = code;
    this.b.put(code, ...words);
  }

  jumpRelative(): void {
    this.#end(C.T_GO);
  }

  branchIf(condition: Node): void {
    this.#end(C.T_BRANCH, condition.local);
  }

  jumpTo(linear: Node): void {
    this.#end(C.T_JUMP, linear.local);
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
    this.b.put(C.T_TLB_CHANGED);
  }

  // Flags

  #set(kind: number, a: Node, b?: Node): void {
    this.#flagChanges++;
    this.flags = 'set';
    this.b.put(C.T_FLAGS, kind, a.local, b?.local ?? -1);
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
    this.b.put(C.T_CARRY_IS, this.wide(carry).local);
  }

  /** Somebody looks at the flags: where they are not known then, they are in memory from then on. */
  #look(type: ValType, code: number, ...words: readonly number[]): Node {
    if (this.flags === 'before' || this.flags === 'unknown') {
      this.looksAtFlags = true;
      this.#flagChanges++;
      this.flags = 'memory';
    }
    return this.b.define(type, code, ...words);
  }

  override flagResult(): Node {
    return this.#look('i64', C.T_FLAG_RESULT);
  }

  override flagAux(): Node {
    return this.#look('i32', C.T_FLAG_AUX);
  }

  override carry(): Node {
    return this.#look('i64', C.T_CARRY);
  }

  override condition(number: number): Node {
    return this.#look('i32', C.T_CONDITION, number);
  }
}

/** What building an instruction of some shape came to. */
export interface Recorded {
  readonly words: readonly number[];
  readonly slots: number;
  /** T_GO, T_BRANCH, T_JUMP; undefined: falls through. */
  readonly ending: number | undefined;
  readonly leaves: boolean;
  readonly looksAtFlags: boolean;
  /** Sets all arithmetic flags, whatever happens. */
  readonly setsFlags: boolean;
  /** It is good for this low byte of the immediate only. */
  readonly forByte: boolean;
}

/**
 * Builds an instruction of a shape. Throws NotCompiled.
 * @param byte the immediate's low byte; @param callees may throw NotCompiled, too
 */
export function record(variant: Variant, semantics: (o: Ops) => void, byte: number, callees: Callees): Recorded {
  const ops = new TemplateOps(variant, byte, callees);
  semantics(ops);
  const { ending, leaves, looksAtFlags, flags, forByte, b } = ops;
  return { words: b.words, slots: b.slots, ending, leaves, looksAtFlags, setsFlags: flags === 'set', forByte };
}
