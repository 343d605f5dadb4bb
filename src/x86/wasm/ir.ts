/**
 * A function body under construction. Values are nodes of a graph, created in program order; effects (stores, calls,
 * variable assignments, control) are kept in that order too. Emission turns single-use values into nested expressions
 * and gives the others a local, so that code which builds instructions need not think about the wasm stack.
 *
 * This is for what is built beforehand. The compiler builds its regions in the same way while the guest waits: runtime/compile/ir.ts.
 */
import { ByteWriter } from './bytes.ts';
import { fold, uncut } from './fold.ts';
import { LOADS, OPERATIONS, STORES, VALTYPE_CODE, type ValType } from './opcodes.ts';
import type { FunctionRef, Signature } from './module.ts';

// Kinds of nodes. A read must not move across an effect; a call is an effect that may have a value.
const CONST = 0;
const PARAM = 1;
const PURE = 2;
const READ = 3; // depends on memory
const GET = 4; // depends on a variable
const CALL = 5;
const EFFECT = 6; // from here on without a value
const SET = 7;
const BRANCH = 8;
const BRANCH_TABLE = 9;
/** Stands for the construct whose condition a value is. */
const CONDITION = 10;

const UNDECIDED = 0;
const NESTED = 1;
const IN_LOCAL = 2;

const NO_CODE: readonly number[] = [];
const NO_ARGS: readonly Node[] = [];

/** One value or effect. */
export class Node {
  readonly kind: number;
  readonly type: ValType | undefined;
  /** Opcode bytes. */
  readonly code: readonly number[];
  readonly args: readonly Node[];
  /** Index or offset that follows the opcode; of a constant unused. */
  readonly immediate: number;
  /** Lanes; or the variable, label or labels that it refers to. */
  readonly more: readonly number[] | Variable | Label | readonly Label[] | undefined;
  /** Effects so far when it was created: a read may move only within one epoch. */
  readonly epoch: number;
  readonly loop: number;
  /** Constants: the value. */
  readonly value: bigint | number | undefined;
  uses = 0;
  user: Node | undefined;
  placement = UNDECIDED;
  local = -1;

  constructor(
    kind: number,
    type: ValType | undefined,
    code: readonly number[],
    args: readonly Node[],
    immediate: number,
    more: Node['more'],
    epoch: number,
    loop: number,
    value: bigint | number | undefined,
  ) {
    this.kind = kind;
    this.type = type;
    this.code = code;
    this.args = args;
    this.immediate = immediate;
    this.more = more;
    this.epoch = epoch;
    this.loop = loop;
    this.value = value;
  }
}

/** A value without an effect that nobody uses. */
const isUseless = ({ uses, kind }: Node): boolean => uses === 0 && kind >= PURE && kind <= GET;

/** A mutable wasm local. */
export interface Variable {
  readonly type: ValType;
  readonly local: number;
}

/** A branch target. */
export interface Label {
  depth: number;
}

interface Scope {
  readonly items: (Node | Control)[];
}

class Control {
  readonly kind: 'block' | 'loop' | 'if';
  readonly label: Label = { depth: -1 };
  readonly condition: Node | undefined;
  readonly body: Scope = { items: [] };
  readonly otherwise: Scope = { items: [] };
  readonly loop: number;

  constructor(kind: Control['kind'], condition: Node | undefined, loop: number) {
    this.kind = kind;
    this.condition = condition;
    this.loop = loop;
  }
}

export class FunctionBuilder {
  readonly signature: Signature;
  readonly params: readonly Node[];
  /** Calls that come back, so far. */
  calls = 0;
  readonly #locals: ValType[] = [];
  readonly #root: Scope = { items: [] };
  #scope: Scope = this.#root;
  #epoch = 0;
  #loop = 0;
  #loops = 0;
  /** Variables that nobody reads any more, for those to come. */
  readonly #freeVariables: Variable[] = [];
  #lent: Variable[] | undefined;
  // While code is written:
  #w!: ByteWriter;
  readonly #freeLocals: Record<ValType, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  #depth = 0;
  #emittedLoop = 0;

  constructor(signature: Signature) {
    this.signature = signature;
    this.params = signature.params.map((type, i) => new Node(PARAM, type, NO_CODE, NO_ARGS, i, undefined, 0, 0, undefined));
  }

  #add(
    kind: number,
    type: ValType | undefined,
    code: readonly number[],
    args: readonly Node[],
    immediate: number,
    more: Node['more'],
    value?: bigint | number,
  ): Node {
    const node = new Node(kind, type, code, args, immediate, more, this.#epoch, this.#loop, value);
    for (let i = 0; i < args.length; i++) {
      const arg = args[i]!;
      arg.uses++;
      arg.user = node;
    }
    if (kind !== CONST) this.#scope.items.push(node);
    if (kind >= CALL) this.#epoch++;
    return node;
  }

  /** Whether what is built now runs unconditionally. */
  get straight(): boolean {
    return this.#scope === this.#root;
  }

  // Values

  i32(value: number): Node {
    return this.#add(CONST, 'i32', NO_CODE, NO_ARGS, 0, undefined, value | 0);
  }

  i64(value: bigint | number): Node {
    return this.#add(CONST, 'i64', NO_CODE, NO_ARGS, 0, undefined, BigInt.asIntN(64, BigInt(value)));
  }

  f64(value: number): Node {
    return this.#add(CONST, 'f64', [0x44, ...new Uint8Array(new Float64Array([value]).buffer)], NO_ARGS, 0, undefined);
  }

  v128(low: bigint, high: bigint): Node {
    const bytes = new Uint8Array(new BigUint64Array([BigInt.asUintN(64, low), BigInt.asUintN(64, high)]).buffer);
    return this.#add(CONST, 'v128', [0xfd, 12, ...bytes], NO_ARGS, 0, undefined);
  }

  /** Any operation by its WebAssembly name; lane immediates follow the arguments. */
  op(name: string, ...operands: readonly (Node | number)[]): Node {
    const operation = OPERATIONS.get(name);
    if (!operation) throw new Error(`bug: no wasm operation ${name}`);
    const { params, code, result, lanes } = operation;
    const count = params.length;
    if (operands.length !== count + lanes) throw new Error(`bug: ${name}: wrong number of operands`);
    for (let i = 0; i < count; i++) {
      const { type } = operands[i] as Node;
      if (type !== params[i]) throw new Error(`bug: ${name}: operand ${i} is ${type}, not ${params[i]}`);
    }
    if (lanes > 0) {
      return this.#add(PURE, result, code, operands.slice(0, count) as Node[], -1, operands.slice(count) as number[]);
    }
    const args = count === 1 ? [uncut(name, operands[0] as Node)] : (operands as readonly Node[]);
    const folded = fold(name, args);
    if (folded !== undefined) {
      if (folded instanceof Node) return folded;
      return typeof folded === 'bigint' ? this.i64(folded) : this.i32(folded);
    }
    return this.#add(PURE, result, code, args, -1, undefined);
  }

  load(name: string, address: Node, offset = 0): Node {
    const { code, type } = LOADS.get(name)!;
    return this.#add(READ, type, code, [address], offset, undefined);
  }

  store(name: string, address: Node, value: Node, offset = 0): void {
    const { code } = STORES.get(name)!;
    this.#add(EFFECT, undefined, code, [address, value], offset, undefined);
  }

  call(callee: FunctionRef, ...args: readonly Node[]): Node {
    const { params, results } = callee.signature;
    if (args.length !== params.length || args.some((arg, i) => arg.type !== params[i])) throw new Error('bug: call with wrong arguments');
    this.calls++;
    return this.#add(results.length > 0 ? CALL : EFFECT, results[0], CALL_CODE, args, callee.index, NO_ALIGNMENT);
  }

  // Variables

  variable(type: ValType, initial?: Node): Variable {
    const at = this.#freeVariables.findIndex((free) => free.type === type);
    const variable = at >= 0 ? this.#freeVariables.splice(at, 1)[0]! : { type, local: this.#newLocal(type) };
    this.#lent?.push(variable);
    if (initial) this.set(variable, initial);
    return variable;
  }

  /** Builds something whose variables nobody reads afterwards (values read from them are another matter). */
  borrowing(body: () => void): void {
    const outer = this.#lent;
    this.#lent = [];
    body();
    this.#freeVariables.push(...this.#lent);
    this.#lent = outer;
  }

  /** A parameter as a variable. Values made of the parameter before it is set must be used before, too. */
  parameter(n: number): Variable {
    return { type: this.signature.params[n]!, local: n };
  }

  get(variable: Variable): Node {
    return this.#add(GET, variable.type, NO_CODE, NO_ARGS, variable.local, undefined);
  }

  set(variable: Variable, value: Node): void {
    if (value.type !== variable.type) throw new Error(`bug: a ${variable.type} variable is set to ${value.type}`);
    this.#add(SET, undefined, SET_CODE, [value], variable.local, NO_ALIGNMENT);
  }

  // Control

  #nested(kind: Control['kind'], condition: Node | undefined, then: (label: Label) => void, otherwise?: () => void): void {
    const outer = this.#scope;
    const outerLoop = this.#loop;
    if (condition) {
      condition.uses++;
      condition.user = new Node(CONDITION, undefined, NO_CODE, NO_ARGS, 0, undefined, this.#epoch, this.#loop, undefined);
    }
    if (kind === 'loop') this.#loop = ++this.#loops;
    const control = new Control(kind, condition, this.#loop);
    outer.items.push(control);
    this.#epoch++;
    this.#scope = control.body;
    then(control.label);
    this.#epoch++;
    if (otherwise) {
      this.#scope = control.otherwise;
      otherwise();
      this.#epoch++;
    }
    this.#scope = outer;
    this.#loop = outerLoop;
  }

  if(condition: Node, then: (label: Label) => void, otherwise?: () => void): void {
    this.#nested('if', condition, then, otherwise);
  }

  /** Branching to the label leaves the block. */
  block(body: (label: Label) => void): void {
    this.#nested('block', undefined, body);
  }

  /** Branching to the label starts the body again; falling off its end leaves the loop. */
  loop(body: (label: Label) => void): void {
    this.#nested('loop', undefined, body);
  }

  br(label: Label): void {
    this.#add(BRANCH, undefined, BR_CODE, NO_ARGS, 0, label);
  }

  brIf(label: Label, condition: Node): void {
    this.#add(BRANCH, undefined, BR_IF_CODE, [condition], 0, label);
  }

  /** Goes to one of the labels by number; to the last one when the number is beyond them. */
  brTable(labels: readonly Label[], number: Node): void {
    this.#add(BRANCH_TABLE, undefined, BR_TABLE_CODE, [number], 0, labels);
  }

  return(value?: Node): void {
    this.#add(EFFECT, undefined, RETURN_CODE, value ? [value] : NO_ARGS, -1, NO_ALIGNMENT);
  }

  unreachable(): void {
    this.#add(EFFECT, undefined, UNREACHABLE_CODE, NO_ARGS, -1, NO_ALIGNMENT);
  }

  returnCallIndirect(typeIndex: number, args: readonly Node[], index: Node): void {
    this.#add(EFFECT, undefined, RETURN_CALL_INDIRECT_CODE, [...args, index], typeIndex, TABLE_0);
  }

  returnCall(callee: FunctionRef, ...args: readonly Node[]): void {
    this.#add(EFFECT, undefined, RETURN_CALL_CODE, args, callee.index, NO_ALIGNMENT);
  }

  // Emission

  #newLocal(type: ValType): number {
    return this.signature.params.length + this.#locals.push(type) - 1;
  }

  #isNested(node: Node): boolean {
    if (node.placement !== UNDECIDED) return node.placement === NESTED;
    let nested = false;
    if (node.kind <= PARAM) nested = true;
    else if (node.uses === 1 && node.user && node.kind < EFFECT) {
      if (node.kind === PURE) nested = true;
      else {
        let root = node.user;
        while (root.user && this.#isNested(root)) root = root.user;
        nested = root.epoch === node.epoch;
      }
    }
    node.placement = nested ? NESTED : IN_LOCAL;
    return nested;
  }

  /** Takes away the uses by values that nobody uses, last first: these are not written then. */
  #sweep({ items }: Scope): void {
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i]!;
      if (item instanceof Control) {
        this.#sweep(item.otherwise);
        this.#sweep(item.body);
      } else if (isUseless(item)) {
        for (const arg of item.args) arg.uses--;
      }
    }
  }

  #expression(node: Node): void {
    const w = this.#w;
    if (node.local >= 0) {
      w.u8(0x20);
      w.u32(node.local);
      // A value from outside of a loop is read again in its next round.
      if (--node.uses === 0 && node.loop === this.#emittedLoop) this.#freeLocals[node.type!].push(node.local);
      return;
    }
    const { args } = node;
    for (let i = 0; i < args.length; i++) this.#expression(args[i]!);
    switch (node.kind) {
      case CONST:
        if (node.type === 'i32') {
          w.u8(0x41);
          w.s32(node.value as number);
        } else if (node.type === 'i64') {
          w.u8(0x42);
          w.s64(node.value as bigint);
        } else w.few(node.code);
        return;
      case PARAM:
      case GET:
        w.u8(0x20);
        w.u32(node.immediate);
        return;
      case PURE:
        w.few(node.code);
        if (node.more) w.few(node.more as readonly number[]);
        return;
      case BRANCH:
        w.few(node.code);
        w.u32(this.#depth - (node.more as Label).depth);
        return;
      case BRANCH_TABLE: {
        const labels = node.more as readonly Label[];
        w.few(node.code);
        w.u32(labels.length - 1);
        for (const label of labels) w.u32(this.#depth - label.depth);
        return;
      }
      default:
        w.few(node.code);
        // Memory operations have an alignment hint (none) before their offset.
        if (node.more === undefined) w.u8(0);
        if (node.immediate >= 0) w.u32(node.immediate);
        if (node.more === TABLE_0) w.u8(0);
    }
  }

  #emit(scope: Scope): void {
    const w = this.#w;
    for (const item of scope.items) {
      if (item instanceof Control) {
        if (item.condition) this.#expression(item.condition);
        w.u8(item.kind === 'block' ? 0x02 : item.kind === 'loop' ? 0x03 : 0x04);
        w.u8(0x40);
        item.label.depth = ++this.#depth;
        const outerLoop = this.#emittedLoop;
        this.#emittedLoop = item.loop;
        this.#emit(item.body);
        if (item.otherwise.items.length > 0) {
          w.u8(0x05);
          this.#emit(item.otherwise);
        }
        this.#emittedLoop = outerLoop;
        w.u8(0x0b);
        this.#depth--;
      } else if (item.kind >= EFFECT) {
        this.#expression(item);
      } else if (!isUseless(item) && !this.#isNested(item)) {
        this.#expression(item);
        if (item.uses === 0) w.u8(0x1a);
        else {
          item.local = this.#freeLocals[item.type!].pop() ?? this.#newLocal(item.type!);
          w.u8(0x21);
          w.u32(item.local);
        }
      }
    }
  }

  /** The function's body: locals and code, as the code section wants it (without the length). */
  finish(): Uint8Array {
    this.#sweep(this.#root);
    const w = new ByteWriter(2048);
    this.#w = w;
    this.#emit(this.#root);
    // Falling off the end of a function with a result is a bug in the caller; unreachable keeps the body valid.
    if (this.signature.results.length > 0) w.u8(0x00);
    w.u8(0x0b);
    // Which locals there are is known only now.
    const groups: [ValType, number][] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last && last[0] === type) last[1]++;
      else groups.push([type, 1]);
    }
    const body = new ByteWriter(w.length + 16);
    body.u32(groups.length);
    for (const [type, count] of groups) {
      body.u32(count);
      body.u8(VALTYPE_CODE[type]);
    }
    body.raw(w.view());
    return body.take();
  }
}

const CALL_CODE = [0x10];
const SET_CODE = [0x21];
const BR_CODE = [0x0c];
const BR_IF_CODE = [0x0d];
const BR_TABLE_CODE = [0x0e];
const RETURN_CODE = [0x0f];
const UNREACHABLE_CODE = [0x00];
const RETURN_CALL_CODE = [0x12];
const RETURN_CALL_INDIRECT_CODE = [0x13];
/** No memory operation. */
const NO_ALIGNMENT: readonly number[] = [];
/** The table's index follows the type's. */
const TABLE_0: readonly number[] = [];
