/**
 * A function body under construction. Values are nodes of a graph, created in program order; effects (stores, calls,
 * variable assignments, control) are kept in that order too. Emission turns single-use values into nested expressions
 * and gives the others a local, so that code which builds instructions need not think about the wasm stack.
 */
import { ByteWriter } from './bytes.ts';
import { LOADS, OPERATIONS, STORES, VALTYPE_CODE, type ValType } from './opcodes.ts';
import type { FunctionRef, Signature } from './module.ts';

type Kind =
  | 'const'
  | 'param'
  | 'pure' // depends on its arguments alone
  | 'read' // also depends on memory or a variable: must not move across an effect
  | 'call' // an effect that has a value
  | 'effect';

/** One value or effect. */
export class Node {
  readonly kind: Kind;
  readonly type: ValType | undefined;
  readonly args: readonly Node[];
  /** Writes everything after the arguments. */
  readonly write: (w: Emission) => void;
  /** Effects so far when it was created: a read may move only within one epoch. */
  readonly epoch: number;
  readonly loop: number;
  uses = 0;
  user: Node | undefined;
  deferred: boolean | undefined;
  local = -1;
  /** Constants: the value; `op` names the operation for folding. */
  readonly value: bigint | number | undefined;
  readonly op: string;

  constructor(
    kind: Kind,
    op: string,
    type: ValType | undefined,
    args: readonly Node[],
    epoch: number,
    loop: number,
    write: (w: Emission) => void,
    value?: bigint | number,
  ) {
    this.kind = kind;
    this.op = op;
    this.type = type;
    this.args = args;
    this.epoch = epoch;
    this.loop = loop;
    this.write = write;
    this.value = value;
  }
}

/** A mutable wasm local. */
export interface Variable {
  readonly type: ValType;
  local: number;
}

/** A branch target. */
export interface Label {
  depth: number;
}

interface Scope {
  readonly items: (Node | Control)[];
}

interface Control {
  readonly kind: 'block' | 'loop' | 'if';
  readonly label: Label;
  readonly condition: Node | undefined;
  readonly body: Scope;
  readonly otherwise: Scope | undefined;
}

interface Emission {
  readonly w: ByteWriter;
  depth: number;
}

const isControl = (item: Node | Control): item is Control => !(item instanceof Node);

export class FunctionBuilder {
  readonly signature: Signature;
  readonly params: readonly Node[];
  readonly #locals: ValType[] = [];
  readonly #root: Scope = { items: [] };
  #scope: Scope = this.#root;
  #epoch = 0;
  #loop = 0;
  #loops = 0;

  constructor(signature: Signature) {
    this.signature = signature;
    this.params = signature.params.map((type, i) => {
      const node = new Node('param', 'param', type, [], 0, 0, ({ w }) => {
        w.u8(0x20);
        w.u32(i);
      });
      return node;
    });
  }

  #add(
    kind: Kind,
    op: string,
    type: ValType | undefined,
    args: readonly Node[],
    write: (e: Emission) => void,
    value?: bigint | number,
  ): Node {
    const node = new Node(kind, op, type, args, this.#epoch, this.#loop, write, value);
    for (const arg of args) {
      arg.uses++;
      arg.user = node;
    }
    if (kind !== 'const') this.#scope.items.push(node);
    if (kind === 'effect' || kind === 'call') this.#epoch++;
    return node;
  }

  /** Whether what is built now runs unconditionally. */
  get straight(): boolean {
    return this.#scope === this.#root;
  }

  // Values

  i32(value: number): Node {
    return this.#add(
      'const',
      'i32.const',
      'i32',
      [],
      ({ w }) => {
        w.u8(0x41);
        w.s32(value);
      },
      value | 0,
    );
  }

  i64(value: bigint | number): Node {
    const big = BigInt.asIntN(64, BigInt(value));
    return this.#add(
      'const',
      'i64.const',
      'i64',
      [],
      ({ w }) => {
        w.u8(0x42);
        w.s64(big);
      },
      big,
    );
  }

  f64(value: number): Node {
    return this.#add(
      'const',
      'f64.const',
      'f64',
      [],
      ({ w }) => {
        w.u8(0x44);
        w.raw(new Uint8Array(new Float64Array([value]).buffer));
      },
      value,
    );
  }

  v128(low: bigint, high: bigint): Node {
    return this.#add('const', 'v128.const', 'v128', [], ({ w }) => {
      w.raw([0xfd, 12]);
      w.raw(new Uint8Array(new BigUint64Array([BigInt.asUintN(64, low), BigInt.asUintN(64, high)]).buffer));
    });
  }

  /** Any operation by its WebAssembly name; lane immediates follow the arguments. */
  op(name: string, ...operands: readonly (Node | number)[]): Node {
    const operation = OPERATIONS.get(name);
    if (!operation) throw new Error(`bug: no wasm operation ${name}`);
    const { params, code, result, lanes } = operation;
    const args = operands.slice(0, params.length) as Node[];
    const immediates = operands.slice(params.length) as number[];
    if (args.length !== params.length || immediates.length !== lanes) throw new Error(`bug: ${name}: wrong number of operands`);
    for (let i = 0; i < args.length; i++) {
      if (args[i]!.type !== params[i]) throw new Error(`bug: ${name}: operand ${i} is ${args[i]!.type}, not ${params[i]}`);
    }
    const folded = this.#fold(name, args);
    if (folded) return folded;
    return this.#add('pure', name, result, args, ({ w }) => {
      w.raw(code);
      for (const lane of immediates) w.u8(lane);
    });
  }

  /** Constants and identities, so that specialised code comes out clean. */
  #fold(name: string, args: readonly Node[]): Node | undefined {
    const [a, b] = args;
    if (!a) return undefined;
    const x = a.value;
    const y = b?.value;
    if (typeof y === 'bigint') {
      if (y === 0n && /^i64\.(add|sub|or|xor|shl|shr_s|shr_u)$/.test(name)) return a;
      if (y === -1n && name === 'i64.and') return a;
      if (typeof x === 'bigint') {
        const value = FOLD64[name]?.(x, y);
        if (value !== undefined) return this.i64(value);
      }
    } else if (typeof y === 'number' && b?.type === 'i32') {
      if (y === 0 && /^i32\.(add|sub|or|xor|shl|shr_s|shr_u)$/.test(name)) return a;
      if (typeof x === 'number' && a.type === 'i32') {
        const value = FOLD32[name]?.(x, y);
        if (value !== undefined) return this.i32(value);
      }
    } else if (!b) {
      if (name === 'i32.wrap_i64' && typeof x === 'bigint') return this.i32(Number(BigInt.asIntN(32, x)));
      if (name === 'i64.extend_i32_u' && typeof x === 'number') return this.i64(BigInt(x >>> 0));
      if (name === 'i64.extend_i32_s' && typeof x === 'number') return this.i64(BigInt(x | 0));
    }
    return undefined;
  }

  load(name: string, address: Node, offset = 0): Node {
    const { code, type } = LOADS.get(name)!;
    return this.#add('read', name, type, [address], ({ w }) => {
      w.raw(code);
      w.u8(0);
      w.u32(offset);
    });
  }

  store(name: string, address: Node, value: Node, offset = 0): void {
    const { code } = STORES.get(name)!;
    this.#add('effect', name, undefined, [address, value], ({ w }) => {
      w.raw(code);
      w.u8(0);
      w.u32(offset);
    });
  }

  call(callee: FunctionRef, ...args: readonly Node[]): Node {
    const { params, results } = callee.signature;
    if (args.length !== params.length || args.some((arg, i) => arg.type !== params[i])) throw new Error('bug: call with wrong arguments');
    return this.#add(results.length > 0 ? 'call' : 'effect', 'call', results[0], args, ({ w }) => {
      w.u8(0x10);
      w.u32(callee.index);
    });
  }

  // Variables

  variable(type: ValType, initial?: Node): Variable {
    const variable = { type, local: this.#newLocal(type) };
    if (initial) this.set(variable, initial);
    return variable;
  }

  get(variable: Variable): Node {
    return this.#add('read', 'local.get', variable.type, [], ({ w }) => {
      w.u8(0x20);
      w.u32(variable.local);
    });
  }

  set(variable: Variable, value: Node): void {
    if (value.type !== variable.type) throw new Error(`bug: a ${variable.type} variable is set to ${value.type}`);
    this.#add('effect', 'local.set', undefined, [value], ({ w }) => {
      w.u8(0x21);
      w.u32(variable.local);
    });
  }

  // Control

  #nested(kind: Control['kind'], condition: Node | undefined, then: (label: Label) => void, otherwise?: () => void): void {
    const label: Label = { depth: -1 };
    const outer = this.#scope;
    const outerLoop = this.#loop;
    if (condition) {
      condition.uses++;
      condition.user = new Node('effect', kind, undefined, [condition], this.#epoch, this.#loop, () => {});
    }
    const control: Control = { kind, label, condition, body: { items: [] }, otherwise: otherwise ? { items: [] } : undefined };
    outer.items.push(control);
    this.#epoch++;
    if (kind === 'loop') this.#loop = ++this.#loops;
    this.#scope = control.body;
    then(label);
    this.#epoch++;
    if (otherwise) {
      this.#scope = control.otherwise!;
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
    this.#add('effect', 'br', undefined, [], (e) => {
      e.w.u8(0x0c);
      e.w.u32(e.depth - label.depth);
    });
  }

  brIf(label: Label, condition: Node): void {
    this.#add('effect', 'br_if', undefined, [condition], (e) => {
      e.w.u8(0x0d);
      e.w.u32(e.depth - label.depth);
    });
  }

  return(value?: Node): void {
    this.#add('effect', 'return', undefined, value ? [value] : [], ({ w }) => w.u8(0x0f));
  }

  unreachable(): void {
    this.#add('effect', 'unreachable', undefined, [], ({ w }) => w.u8(0x00));
  }

  returnCallIndirect(typeIndex: number, args: readonly Node[], index: Node): void {
    this.#add('effect', 'return_call_indirect', undefined, [...args, index], ({ w }) => {
      w.u8(0x13);
      w.u32(typeIndex);
      w.u8(0);
    });
  }

  returnCall(callee: FunctionRef, ...args: readonly Node[]): void {
    this.#add('effect', 'return_call', undefined, args, ({ w }) => {
      w.u8(0x12);
      w.u32(callee.index);
    });
  }

  // Emission

  #newLocal(type: ValType): number {
    return this.signature.params.length + this.#locals.push(type) - 1;
  }

  #isDeferred(node: Node): boolean {
    if (node.deferred !== undefined) return node.deferred;
    let deferred = false;
    if (node.kind === 'const' || node.kind === 'param') deferred = true;
    else if (node.uses === 1 && node.user && node.kind !== 'effect') {
      if (node.kind === 'pure') deferred = true;
      else {
        let root = node.user;
        while (this.#isDeferred(root) && root.user) root = root.user;
        deferred = root.epoch === node.epoch;
      }
    }
    node.deferred = deferred;
    return deferred;
  }

  /** Drops values that nobody uses, last first, so that their arguments can go too. */
  #sweep(scope: Scope): void {
    for (let i = scope.items.length - 1; i >= 0; i--) {
      const item = scope.items[i]!;
      if (isControl(item)) {
        if (item.otherwise) this.#sweep(item.otherwise);
        this.#sweep(item.body);
      } else if (item.uses === 0 && (item.kind === 'pure' || item.kind === 'read')) {
        for (const arg of item.args) arg.uses--;
        scope.items.splice(i, 1);
      }
    }
  }

  #expression(node: Node, e: Emission): void {
    if (node.local >= 0) {
      e.w.u8(0x20);
      e.w.u32(node.local);
      return;
    }
    for (const arg of node.args) this.#expression(arg, e);
    node.write(e);
  }

  #emit(scope: Scope, e: Emission): void {
    for (const item of scope.items) {
      if (isControl(item)) {
        if (item.condition) this.#expression(item.condition, e);
        e.w.u8(item.kind === 'block' ? 0x02 : item.kind === 'loop' ? 0x03 : 0x04);
        e.w.u8(0x40);
        e.depth++;
        item.label.depth = e.depth;
        this.#emit(item.body, e);
        if (item.otherwise && item.otherwise.items.length > 0) {
          e.w.u8(0x05);
          this.#emit(item.otherwise, e);
        }
        e.w.u8(0x0b);
        e.depth--;
      } else if (item.kind === 'effect') {
        this.#expression(item, e);
      } else if (!this.#isDeferred(item)) {
        this.#expression(item, e);
        if (item.uses === 0) {
          e.w.u8(0x1a);
        } else {
          item.local = this.#newLocal(item.type!);
          e.w.u8(0x21);
          e.w.u32(item.local);
        }
      }
    }
  }

  /** The function's body: locals and code, as the code section wants it (without the length). */
  finish(): Uint8Array {
    this.#sweep(this.#root);
    const code = new ByteWriter();
    this.#emit(this.#root, { w: code, depth: 0 });
    // Falling off the end of a function with a result is a bug in the caller; unreachable keeps the body valid.
    if (this.signature.results.length > 0) code.u8(0x00);
    code.u8(0x0b);
    const out = new ByteWriter();
    const groups: [ValType, number][] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last && last[0] === type) last[1]++;
      else groups.push([type, 1]);
    }
    out.u32(groups.length);
    for (const [type, count] of groups) {
      out.u32(count);
      out.u8(VALTYPE_CODE[type]);
    }
    out.raw(code.view());
    return out.take();
  }
}

const FOLD64: Readonly<Record<string, (x: bigint, y: bigint) => bigint>> = {
  'i64.add': (x, y) => x + y,
  'i64.sub': (x, y) => x - y,
  'i64.and': (x, y) => x & y,
  'i64.or': (x, y) => x | y,
  'i64.xor': (x, y) => x ^ y,
};

const FOLD32: Readonly<Record<string, (x: number, y: number) => number>> = {
  'i32.add': (x, y) => (x + y) | 0,
  'i32.sub': (x, y) => (x - y) | 0,
  'i32.and': (x, y) => x & y,
  'i32.or': (x, y) => x | y,
  'i32.xor': (x, y) => x ^ y,
  'i32.shl': (x, y) => x << y,
};
