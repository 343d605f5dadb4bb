/**
 * The compiler at work: collects hot places, makes modules of regions, hangs their functions into the interpreter's
 * table, and takes away what has lost its ground.
 */
import type { Memory } from '../../machine/memory.ts';
import type { CompilerCounts } from '../../machine/vcpu.ts';
import type { Variant } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import type { State } from '../state.ts';
import { buildModule } from './batch.ts';
import type { CompilerEvent, CompilerObserver, DropReason, Place, RefuseReason } from './observer.ts';
import { Patience } from './patience.ts';
import { Regions, type Region, type RegionRuntime } from './region.ts';
import { Templates } from './templates.ts';

export interface CompilerOptions {
  /** Jumps to a place before it is compiled. */
  readonly threshold: number;
  /** Regions that wait for each other before a module is made of them. */
  readonly batch: number;
  /** Code that keeps changing is compiled after at most 2^patience times the usual number of jumps. */
  readonly patience: number;
  /** Instructions in live compiled code, at most: then all of it goes, and what is still hot comes back. */
  readonly capacity: number;
  readonly observer?: CompilerObserver | undefined;
}

export type RegionCompiler = (bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[]) => WebAssembly.Module;

/** What the compiler needs of the engine. */
export interface CompilerHost {
  readonly state: State;
  readonly memory: Memory;
  /** Compiles a module whose functions have these sizes, in bytes. Throws as `WebAssembly.Module` does. */
  readonly compileRegions: RegionCompiler;
  /** Functions of the runtime and of the interpreter by name. */
  readonly functions: Readonly<Record<string, unknown>>;
  /** The interpreter's handlers. */
  readonly table: WebAssembly.Table;
  /** The handler that interprets a record, whatever has been compiled. */
  interpretedBy(record: number): number;
  /** What a handler interprets; undefined: no instruction. */
  variantOf(handler: number): Variant | undefined;
}

/** A region that has been compiled. */
interface Compiled {
  readonly region: Region;
  readonly handler: number;
  readonly records: readonly number[];
}

/** A record names its handler by 16 bits. */
const HANDLERS = 65536;
/** Guest time that jumps count for. */
const PERIOD_NS = 16e9;

export class Compiler {
  readonly #host: CompilerHost;
  readonly #options: CompilerOptions;
  readonly #regions: Regions;
  #queue: Region[] = [];
  /** Records that regions of the queue begin at, and whether they have been heard of while they wait. */
  readonly #waiting = new Map<number, boolean>();
  /** Regions that wait, by records that their blocks begin at. */
  readonly #within = new Map<number, Region>();
  readonly #free: number[] = [];
  #nextHandler = L.H_COMPILED;
  readonly #patience: Patience;
  /** Instructions in compiled code that is in use. */
  #live = 0;
  /** Regions by RAM page. */
  readonly #byPage = new Map<number, Set<Compiled>>();
  readonly counts: CompilerCounts = {
    regions: 0,
    modules: 0,
    bytes: 0,
    steps: 0,
    dropped: 0,
    refused: 0,
    findMs: 0,
    emitMs: 0,
    moduleMs: 0,
  };

  constructor(host: CompilerHost, options: CompilerOptions) {
    this.#host = host;
    this.#options = options;
    this.#patience = new Patience(options.patience);
    this.#regions = new Regions(host.state, host.functions as unknown as RegionRuntime, new Templates(host.state, host.variantOf));
    host.table.grow(HANDLERS - host.table.length);
    host.state.setU32(L.HOT, options.threshold);
  }

  /** Jumps have come to a record often; its page is the current one. */
  hot(record: number): void {
    if (this.#waiting.get(record)) return this.compile();
    if (this.#waiting.has(record)) return this.#rearm(record);
    const around = this.#within.get(record);
    if (around && this.#regions.enterAt(around, record)) {
      // A region of its own would be made of the same code.
      this.#wait(record);
      return this.#rearm(record);
    }
    const began = performance.now();
    const region = this.#regions.find(record, Math.max(1, this.#options.threshold >> 4));
    this.counts.findMs += performance.now() - began;
    if (!region) {
      const { state } = this.#host;
      return void this.#refuse(state.u64(L.PAGE_BASE) + BigInt(state.u16(record + L.R_OFFSET)), 'interpreted');
    }
    if (!this.#patience.allows(region.pages[0]!.number)) {
      this.#refuse(region.linear, 'restless');
      return this.#cool(record);
    }
    this.#queue.push(region);
    for (const block of this.#regions.blocksOf(region)) if (!this.#within.has(block)) this.#within.set(block, region);
    for (const entry of region.entries) this.#wait(entry);
    this.#rearm(record);
    if (this.#queue.length >= this.#options.batch) this.compile();
  }

  /** No other region goes on where one begins that waits. */
  #wait(record: number): void {
    this.#waiting.set(record, false);
    this.#mark(record, true);
  }

  #mark(record: number, waits: boolean): void {
    const { view } = this.#host.state;
    const flags = view.getUint8(record + L.R_FLAGS);
    view.setUint8(record + L.R_FLAGS, waits ? flags | L.REC_WAITING : flags & ~L.REC_WAITING);
  }

  /** Nothing waits any more. */
  #empty(): Region[] {
    const waiting = this.#queue;
    for (const record of this.#waiting.keys()) this.#mark(record, false);
    this.#waiting.clear();
    this.#within.clear();
    this.#queue = [];
    return waiting;
  }

  /** Has a record that waits to be compiled be heard of again, when it goes on being hot: then nothing waits any longer. */
  #rearm(record: number): void {
    const { threshold } = this.#options;
    this.#setHeat(record, threshold - Math.ceil(threshold / 4));
    this.#waiting.set(record, true);
  }

  /** Has a record be heard of again only when it has become hot once more. */
  #cool(record: number): void {
    this.#setHeat(record, 0);
  }

  #setHeat(record: number, count: number): void {
    const { state } = this.#host;
    state.setU32(record + L.R_NOTE, state.u32(L.HEAT_PERIOD) | count);
  }

  /**
   * Between two stretches of execution: catches up with what has happened. Code counts as hot by how often jumps come to
   * it in a period of guest time: what a sleeping machine does every now and then would never repay being compiled.
   * @param time guest time in nanoseconds
   */
  settle(time: number): void {
    this.#host.state.setU32(L.HEAT_PERIOD, (Math.floor(time / PERIOD_NS) & 0x7fff) << 16);
    this.dropStale();
  }

  /** Makes a module of the regions that wait. */
  compile(): void {
    this.dropStale();
    const waiting = this.#empty().filter((region) => this.#isCurrent(region) || this.#refuse(region.linear, 'changed'));
    if (waiting.length === 0) return;
    if (this.#live > this.#options.capacity) this.#dropAll();
    const began = performance.now();
    const { bytes, built: regions, sizes, refused } = buildModule(waiting, this.#regions, (region) => this.#nameOf(region));
    for (const region of refused) this.#refuse(region.linear, 'large');
    if (regions.length === 0) return;
    const built = performance.now();
    const instance = this.#instantiate(bytes, sizes);
    if (!instance) {
      for (const region of regions) this.#refuse(region.linear, 'host');
      return;
    }
    const emitMs = built - began;
    const moduleMs = performance.now() - built;
    const number = ++this.counts.modules;
    this.counts.emitMs += emitMs;
    this.counts.moduleMs += moduleMs;
    this.counts.bytes += bytes.length;
    this.#tell(() => ({ kind: 'module', number, regions: regions.length, bytes: bytes.length, emitMs, moduleMs }));
    regions.forEach((region, n) => this.#install(region, instance.exports[String(n)] as () => number, sizes[n]!));
  }

  /** Undefined when the host refuses: the regions stay interpreted. */
  #instantiate(bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[]): WebAssembly.Instance | undefined {
    const { memory, functions, compileRegions } = this.#host;
    try {
      return new WebAssembly.Instance(compileRegions(bytes, sizes), {
        host: { memory: memory.wasm },
        engine: functions as WebAssembly.ModuleImports,
      });
    } catch (error) {
      if (!(error instanceof WebAssembly.CompileError || error instanceof RangeError)) throw error;
      this.counts.refused++;
      return undefined;
    }
  }

  #isCurrent({ pages }: Region): boolean {
    return pages.every(({ codePage, version }) => this.#host.state.u32(codePage + L.CP_VERSION) === version);
  }

  #install(region: Region, run: () => number, bytes: number): void {
    const { state, table } = this.#host;
    const handler = this.#free.pop() ?? this.#nextHandler++;
    // `capacity` is used up long before these numbers are.
    if (handler >= HANDLERS) return void this.#refuse(region.linear, 'full');
    table.set(handler, run);
    const records: number[] = [];
    region.entries.forEach((record, n) => {
      // A place that has been compiled already stays so, except the one that was found hot.
      const note = record + L.R_NOTE;
      if (n > 0 && state.u32(note) & L.NOTE_ENTRY) return;
      state.setU32(note, L.NOTE_ENTRY | (n << 16) | this.#host.interpretedBy(record));
      state.setU16(record, handler);
      records.push(record);
    });
    const compiled: Compiled = { region, handler, records };
    for (const { number } of region.pages) {
      let set = this.#byPage.get(number);
      if (!set) this.#byPage.set(number, (set = new Set()));
      set.add(compiled);
    }
    this.counts.regions++;
    this.counts.steps += region.steps;
    this.#live += region.steps;
    this.#tell(() => ({
      kind: 'region',
      place: this.#placeOf(region),
      name: this.#nameOf(region),
      module: this.counts.modules,
      handler,
      entries: records.length,
      blocks: region.blocks,
      steps: region.steps,
      bytes,
    }));
  }

  /** Takes away the regions of pages whose code has changed. */
  dropStale(): void {
    const { state } = this.#host;
    const count = state.u32(L.DROPPED_COUNT);
    if (count === 0) return;
    state.setU32(L.DROPPED_COUNT, 0);
    if (count > L.DROPPED_SIZE) {
      for (const number of [...this.#byPage.keys()]) this.#dropPage(number);
      return;
    }
    for (let n = 0; n < count; n++) this.#dropPage(state.u32(L.DROPPED + n * 4));
  }

  #dropPage(number: number): void {
    let changed = false;
    for (const compiled of this.#byPage.get(number) ?? []) {
      if (this.#isCurrent(compiled.region)) continue;
      this.#drop(compiled, 'changed');
      changed = true;
    }
    if (changed) this.#patience.changed(number, this.counts.modules);
  }

  #release(compiled: Compiled, reason: DropReason): void {
    this.#host.table.set(compiled.handler, null);
    this.#free.push(compiled.handler);
    this.#live -= compiled.region.steps;
    this.counts.dropped++;
    this.#tell(() => ({ kind: 'drop', place: this.#placeOf(compiled.region), handler: compiled.handler, reason }));
  }

  /** The arena has been emptied: no record is valid any more. */
  forgetAll(): void {
    const { table, state } = this.#host;
    for (const set of this.#byPage.values()) {
      for (const compiled of set) {
        if (table.get(compiled.handler) !== null) this.#release(compiled, 'arena');
      }
    }
    this.#byPage.clear();
    // Their records are void.
    this.#queue = [];
    this.#waiting.clear();
    this.#within.clear();
    state.setU32(L.DROPPED_COUNT, 0);
  }

  /** Makes room: what is still hot is soon found again, and what is not has gone. */
  #dropAll(): void {
    for (const set of [...this.#byPage.values()]) for (const compiled of set) this.#drop(compiled, 'room');
  }

  #drop(compiled: Compiled, reason: DropReason): void {
    const { state } = this.#host;
    for (const record of compiled.records) {
      if (state.u16(record) !== compiled.handler) continue;
      const note = record + L.R_NOTE;
      state.setU16(record, state.u32(note) & 0xffff);
      state.setU32(note, 0);
    }
    for (const { number } of compiled.region.pages) {
      const set = this.#byPage.get(number);
      set?.delete(compiled);
      if (set?.size === 0) this.#byPage.delete(number);
    }
    this.#release(compiled, reason);
  }

  // For who watches

  #tell(event: () => CompilerEvent): void {
    const { observer } = this.#options;
    if (observer?.onEvent) observer.onEvent(event());
  }

  /** Answers false, for filters. */
  #refuse(linear: bigint, reason: RefuseReason): false {
    this.#tell(() => ({ kind: 'refuse', linear, reason }));
    return false;
  }

  #placeOf(region: Region): Place {
    const { number } = region.pages[0]!;
    return { linear: region.linear, physical: this.#host.memory.pageAddress(number) + region.offset };
  }

  #nameOf(region: Region): string {
    const { linear } = region;
    return this.#options.observer?.nameOf?.(linear) ?? linear.toString(16);
  }
}
