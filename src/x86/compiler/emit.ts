/** Builds the WebAssembly function of a region. */
import type { Callees } from '../ops.ts';
import { HANDLER, RUN_LIMIT } from '../interpreter/support.ts';
import * as L from '../runtime/layout.ts';
import type { Semantics } from '../isa/row.ts';
import type { ByteWriter } from '../wasm/bytes.ts';
import { FunctionBuilder, type Label, type Node, type Variable } from '../wasm/ir.ts';
import { analyse, type Flow } from './graph.ts';
import { GeneralRegisters } from './general-registers.ts';
import { DYNAMIC, LazyFlags, type Flags } from './lazy-flags.ts';
import { StepOps, type Surroundings } from './step-ops.ts';
import { lastByteOf, targetsOf, type Block, type Region } from './region.ts';
import type { TraitTable } from './traits.ts';
import { VectorRegisters } from './vector-registers.ts';

/** Return addresses that a RET compares with, before it leaves the region. */
const MOST_RETURNS = 6;
/** Of an exit's target: go on with whatever begins there, compiled or not. */
const LAND = -0x80000000;

/** A region's function takes the record that it begins at, like a handler. */
export function emitRegion(region: Region, traits: TraitTable, callees: Callees, scratch: ByteWriter): Uint8Array {
  return new RegionEmitter(region, traits, callees).emit(scratch);
}

/** Functions of the interpreter and the runtime that every region may call. */
export const LEAVES = ['leaveAt', 'leaveTo', 'leaveHere', 'leaveUnbegun'] as const;

class RegionEmitter implements Surroundings {
  readonly b = new FunctionBuilder(HANDLER);
  readonly flags: LazyFlags;
  readonly #region: Region;
  readonly #traits: TraitTable;
  readonly #callees: Callees;
  /** Nodes that follow a node. */
  readonly #successors: readonly (readonly number[])[];
  readonly #flow: Flow;
  /** Node of the block at an offset. */
  readonly #nodeAt = new Map<number, number>();
  /** By node: whether somebody looks at the flags that it begins with. */
  readonly #flagsLive: boolean[];

  // Variables
  readonly #at: Variable;
  readonly #limit: Variable;
  readonly #base: Variable;
  readonly #entry: Variable;
  /** Where an exit leads: 0 to `address`, LAND and a record, or a record, with the instructions before it that `at` lacks. */
  readonly #target: Variable;
  readonly #address: Variable;
  readonly #registers: GeneralRegisters;
  readonly #vectors: VectorRegisters;
  #tlbRead: Variable | undefined;
  #tlbWrite: Variable | undefined;

  // Where control goes
  #exit!: Label;
  #dispatcher!: Label;
  readonly #labels = new Map<number, Label>();
  readonly #loopLabels = new Map<number, Label>();

  // What is being built
  #node = 0;
  #done = 0;
  /** Where the present step is built. */
  #scope: object | undefined;

  constructor(region: Region, traits: TraitTable, callees: Callees) {
    this.#region = region;
    this.#traits = traits;
    this.#callees = callees;
    const { b } = this;
    this.flags = new LazyFlags(b);
    this.#vectors = new VectorRegisters(b, region);
    this.#at = b.variable('i32');
    this.#limit = b.variable('i32');
    this.#base = b.variable('i64');
    this.#entry = b.variable('i32');
    this.#target = b.variable('i32');
    this.#address = b.variable('i64');
    region.blocks.forEach(({ at }, n) => this.#nodeAt.set(at, n + 1));
    const entries = region.entries.map((at) => this.#nodeAt.get(at)!);
    this.#successors = [[], ...region.blocks.map((block) => this.#targets(block).flatMap((at) => this.#nodeAt.get(at) ?? []))];
    this.#flow = analyse(this.#successors, entries);
    this.#flagsLive = this.#liveFlags();
    this.#registers = new GeneralRegisters(b, this.#flow.loops.size > 0);
  }

  #block(node: number): Block {
    return this.#region.blocks[node - 1]!;
  }

  /** Offsets that a block's ending may go to, as far as they are in the region. */
  #targets(block: Block): number[] {
    return block.ending === 'return' ? this.#region.returns.slice(0, MOST_RETURNS) : targetsOf(block);
  }

  /** Whether some way out of the region leads from a block's end directly: then the flags at its end count. */
  #mayLeave(block: Block): boolean {
    const { ending } = block;
    if (ending === 'leave' || ending === 'indirect' || ending === 'return') return true;
    return this.#targets(block).some((at) => !this.#nodeAt.has(at) || this.#crossesPage(block, at));
  }

  /** Whether going on at an offset leads to another page. */
  #crossesPage(block: Block, at: number): boolean {
    return (at & ~0xfff) !== (block.steps.at(-1)!.at & ~0xfff);
  }

  #liveFlags(): boolean[] {
    const live = [false, ...this.#region.blocks.map((block) => this.#looksFirst(block) ?? this.#mayLeave(block))];
    const settled = live.map((now, node) => now || node === 0 || this.#looksFirst(this.#block(node)) !== undefined);
    for (let changed = true; changed;) {
      changed = false;
      for (let node = live.length - 1; node > 0; node--) {
        if (settled[node] || !this.#successors[node]!.some((to) => live[to] || this.#isBackward(node, to))) continue;
        live[node] = settled[node] = changed = true;
      }
    }
    return live;
  }

  /** Whether the first step of a block that has to do with flags looks at them; undefined when none has. */
  #looksFirst({ steps }: Block): boolean | undefined {
    for (const { variant } of steps) {
      const { looksAtFlags, setsFlags } = this.#traits.of(variant);
      if (looksAtFlags || setsFlags) return looksAtFlags;
    }
    return undefined;
  }

  /** Going back, the budget may end. */
  #isBackward(from: number, to: number): boolean {
    return this.#flow.position[to]! <= this.#flow.position[from]!;
  }

  emit(scratch: ByteWriter): Uint8Array {
    const { b } = this;
    b.block((exit) => {
      this.#exit = exit;
      b.loop((dispatcher) => {
        this.#dispatcher = dispatcher;
        this.#tree(0);
      });
    });
    this.#flush();
    const target = b.get(this.#target);
    b.if(b.op('i32.eqz', target), () => b.returnCall(this.#callees['leaveTo']!, b.get(this.#at), b.get(this.#address)));
    b.if(b.op('i32.lt_s', target, b.i32(0)), () => {
      b.returnCall(this.#callees['leaveHere']!, b.get(this.#at), b.op('i64.extend_i32_u', b.op('i32.and', target, b.i32(~LAND))));
    });
    b.returnCall(this.#callees['leaveAt']!, b.get(this.#at), b.op('i64.extend_i32_u', target));
    b.atStart(() => this.#prologue());
    return b.finish(scratch);
  }

  #prologue(): void {
    const { b } = this;
    const record = b.params[0]!;
    const zero = b.i32(0);
    const steps = this.#region.blocks.reduce((sum, block) => sum + block.steps.length, 0);
    // The budget's last instruction is the interpreter's: STI must know that it is.
    const most = Math.max(steps + 1, RUN_LIMIT) * L.RECORD_BYTES;
    let units = 0;
    for (const { steps: each } of this.#region.blocks) for (const { variant } of each) units |= this.#traits.of(variant).unit;
    const deadline = b.load('i32.load', zero, L.DEADLINE);
    let refused = b.op('i32.lt_s', b.op('i32.sub', deadline, record), b.i32(most));
    if (units) refused = b.op('i32.or', refused, b.op('i32.and', b.load('i32.load', zero, L.FPU_TRAP), b.i32(units)));
    b.if(refused, () => b.returnCall(this.#callees['leaveUnbegun']!, record, b.i64(0)));
    b.set(this.#at, record);
    b.set(this.#limit, b.op('i32.sub', deadline, b.i32(most)));
    b.set(this.#base, b.load('i64.load', zero, L.PAGE_BASE));
    if (this.#region.entries.length > 1) {
      const note = b.load('i32.load', record, L.R_NOTE);
      b.set(this.#entry, b.op('i32.and', b.op('i32.shr_u', note, b.i32(16)), b.i32(0xff)));
    }
    this.#region.entries.forEach((at, n) => {
      const delta = at & ~0xfff;
      if (delta === 0) return;
      b.if(b.op('i32.eq', b.get(this.#entry), b.i32(n)), () => b.set(this.#base, b.op('i64.sub', b.get(this.#base), b.i64(delta))));
    });
    this.#registers.load();
    this.#vectors.load();
    if (this.#flow.entries.some((node) => this.#flagsLive[node])) this.flags.receive();
    if (this.#tlbRead) b.set(this.#tlbRead, b.load('i32.load', zero, L.TLB_READ));
    if (this.#tlbWrite) b.set(this.#tlbWrite, b.load('i32.load', zero, L.TLB_WRITE));
  }

  #flush(): void {
    const { b } = this;
    const zero = b.i32(0);
    const done = b.op('i64.extend_i32_u', b.op('i32.sub', b.get(this.#at), b.params[0]!));
    b.store('i64.store', zero, b.op('i64.add', b.load('i64.load', zero, L.COUNT_COMPILED), done), L.COUNT_COMPILED);
    this.#vectors.store();
    this.#registers.store();
    this.flags.pass();
  }

  // Structure

  #tree(node: number): void {
    const { b } = this;
    const after = this.#flow.children[node]!.filter((child) => this.#flow.merges.has(child)).sort(
      (x, y) => this.#flow.position[y]! - this.#flow.position[x]!,
    );
    if (this.#flow.loops.has(node)) {
      b.loop((label) => {
        this.#loopLabels.set(node, label);
        this.#within(node, after);
      });
    } else this.#within(node, after);
  }

  /** The node, then the merging nodes that it dominates, each behind the block that jumps to it leave. */
  #within(node: number, after: readonly number[]): void {
    const [next, ...rest] = after;
    if (next === undefined) return this.#contents(node);
    this.b.block((label) => {
      this.#labels.set(next, label);
      this.#within(node, rest);
    });
    this.flags.now = DYNAMIC;
    this.#tree(next);
  }

  #contents(node: number): void {
    const { b } = this;
    if (node === 0) {
      if (this.#flow.entries.length === 1) return b.br(this.#labels.get(this.#flow.entries[0]!)!);
      b.brTable(
        this.#flow.entries.map((entry) => this.#labels.get(entry)!),
        b.get(this.#entry),
      );
      return;
    }
    if (this.#flow.loops.has(node) || this.#flow.merges.has(node)) {
      this.flags.now = DYNAMIC;
      this.#registers.known = 0;
    }
    this.#node = node;
    const block = this.#block(node);
    this.#done = 0;
    this.#guardRest(block);
    for (const step of block.steps) {
      this.#scope = b.scope;
      b.borrowing(() => (step.variant.encoding.row.semantics as Semantics)(new StepOps(step, this, this.#callees)));
      this.#done++;
    }
    const last = block.steps.at(-1)!;
    if (block.ending === 'next') this.#count(block.steps.length, () => this.#go(last.at + last.length));
    else if (block.ending === 'leave') {
      this.#count(block.steps.length, () => this.#leaveBefore(block.leaveAt, 0));
    }
  }

  /** Moves `at` over the block's instructions, then ends it. */
  #count(steps: number, end: () => void): void {
    const { b } = this;
    b.set(this.#at, b.op('i32.add', b.get(this.#at), b.i32(steps * L.RECORD_BYTES)));
    end();
  }

  // Ways on

  /** To an offset; the block's instructions have been counted. */
  #go(at: number): void {
    const { b } = this;
    const from = this.#node;
    const to = this.#nodeAt.get(at);
    const crosses = this.#crossesPage(this.#block(from), at);
    if (to === undefined) {
      const record = crosses ? 0 : (this.#region.neighbours.get(at) ?? 0);
      if (record === 0) return this.#leaveForever(this.linear(at));
      this.flags.store();
      b.set(this.#target, b.i32(record | LAND));
      b.br(this.#exit);
      return;
    }
    if (crosses) this.#guard(at);
    const backward = this.#isBackward(from, to);
    if (backward) {
      b.if(b.op('i32.gt_s', b.get(this.#at), b.get(this.#limit)), () => this.#leaveBefore(this.#block(to).record, 0));
    }
    if (this.#flow.dispatched(from, to)) {
      this.#keepFlags(to);
      b.set(this.#entry, b.i32(this.#flow.entries.indexOf(to)));
      b.br(this.#dispatcher);
    } else if (backward) {
      this.#keepFlags(to);
      b.br(this.#loopLabels.get(to)!);
    } else if (this.#flow.merges.has(to)) {
      this.#keepFlags(to);
      b.br(this.#labels.get(to)!);
    } else {
      if (this.#flow.loops.has(to)) this.#keepFlags(to);
      const { flags } = this;
      const { now } = flags;
      const { known } = this.#registers;
      const done = this.#done;
      this.#tree(to);
      flags.now = now;
      this.#registers.known = known;
      this.#node = from;
      this.#done = done;
    }
  }

  /** Before control merges with other ways. */
  #keepFlags(to: number): void {
    if (this.#flagsLive[to]) this.flags.store();
  }

  /** Another page: it must still be mapped to the code that was compiled. */
  #guard(at: number): void {
    const { b } = this;
    const page = this.linear(at & ~0xfff);
    b.if(b.op('i32.eqz', this.#isAsCompiled(at & ~0xfff, page)), () => this.#leaveForever(this.linear(at)));
    b.store('i64.store', b.i32(0), page, L.PAGE_BASE);
  }

  /** The same for what an instruction at a page's end has of itself on the next one. */
  #guardRest(block: Block): void {
    const { b, flags } = this;
    const rest = lastByteOf(block) & ~0xfff;
    if (rest === (block.at & ~0xfff)) return;
    const { now } = flags;
    b.if(b.op('i32.eqz', this.#isAsCompiled(rest, this.linear(rest))), () => this.#leaveBefore(block.record, 0));
    flags.now = now;
  }

  /** Whether the page so far from the first one, at a linear address now, is mapped to the code that was compiled. */
  #isAsCompiled(delta: number, linear: Node): Node {
    const { b } = this;
    const page = this.#region.pages.find((each) => each.delta === delta)!;
    const index = b.op('i32.and', b.op('i32.wrap_i64', b.op('i64.shr_u', linear, b.i64(8))), b.i32((L.TLB_ENTRIES - 1) << 4));
    const entry = b.op('i32.add', b.load('i32.load', b.i32(0), L.TLB_CODE), index);
    const mapped = b.op(
      'i32.and',
      b.op('i64.eq', b.load('i64.load', entry), linear),
      b.op('i32.eq', b.load('i32.load', entry, 8), b.i32(page.codePage)),
    );
    const same = b.op('i32.eq', b.load('i32.load', b.i32(page.codePage), L.CP_VERSION), b.i32(page.version));
    return b.op('i32.and', mapped, same);
  }

  /** Out of the region, to a linear address. */
  #leaveForever(address: Node): void {
    const { b } = this;
    this.flags.store();
    b.set(this.#target, b.i32(0));
    b.set(this.#address, address);
    b.br(this.#exit);
  }

  /** Out of the region, to the interpreter's handler of a record, `more` instructions after what has been counted. */
  #leaveBefore(record: number, more: number): void {
    const { b } = this;
    this.flags.store();
    b.set(this.#target, b.i32(record + more));
    b.br(this.#exit);
  }

  // Surroundings of a step

  linear(at: number): Node {
    return this.b.op('i64.add', this.b.get(this.#base), this.b.i64(at));
  }

  readGpr(number: number): Node {
    return this.#registers.read(number, this.b.scope === this.#scope);
  }

  writeGpr(number: number, value: Node): void {
    this.#registers.write(number, value, this.b.scope === this.#scope);
  }

  readVector(address: number): Node {
    return this.#vectors.read(address);
  }

  writeVector(address: number, value: Node): void {
    this.#vectors.write(address, value);
  }

  showVector(address: number): void {
    this.#vectors.show(address);
  }

  tlb(write: boolean): Node {
    if (write) return this.b.get((this.#tlbWrite ??= this.b.lasting('i32')));
    return this.b.get((this.#tlbRead ??= this.b.lasting('i32')));
  }

  tlbChanged(): void {
    const { b } = this;
    b.set((this.#tlbRead ??= b.lasting('i32')), b.load('i32.load', b.i32(0), L.TLB_READ));
    b.set((this.#tlbWrite ??= b.lasting('i32')), b.load('i32.load', b.i32(0), L.TLB_WRITE));
  }

  position(): Node {
    return this.b.op('i32.add', this.b.get(this.#at), this.b.i32(this.#done * L.RECORD_BYTES));
  }

  leaveIf(condition: Node): void {
    const { b } = this;
    const step = this.#block(this.#node).steps[this.#done]!;
    // Under a condition within the step, what follows cannot rely on it.
    if (b.scope === this.#scope) this.flags.settle();
    else this.flags.store();
    b.set(this.#target, b.i32(step.record + this.#done));
    b.brIf(this.#exit, condition);
  }

  leave(): void {
    const step = this.#block(this.#node).steps[this.#done]!;
    this.#leaveBefore(step.record, this.#done);
  }

  goTo(at: number): void {
    this.#count(this.#done + 1, () => this.#go(at));
  }

  branch(condition: Node, taken: number, next: number): void {
    // One edge, not two: what follows would be built twice, and so on from branch to branch.
    if (taken === next) return this.goTo(next);
    const { b, flags } = this;
    this.#count(this.#done + 1, () => {
      const before: Flags = flags.now;
      b.if(condition, () => this.#go(taken));
      flags.now = before;
      this.#go(next);
    });
  }

  jumpTo(linear: Node): void {
    const { b } = this;
    const block = this.#block(this.#node);
    this.#count(this.#done + 1, () => {
      if (block.ending === 'return') {
        const { now } = this.flags;
        for (const at of this.#targets(block)) {
          if (!this.#nodeAt.has(at)) continue;
          b.if(b.op('i64.eq', linear, this.linear(at)), () => this.#go(at));
          this.flags.now = now;
        }
      }
      this.#leaveForever(linear);
    });
  }
}
