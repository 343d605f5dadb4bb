/**
 * The interpreter at work: linear memory, the two WebAssembly instances, and decoding on demand. Knows records and
 * pages, not architecture: what to do after leaving a handler is the processor's business (cpu.ts).
 */
import { assert } from '../base/errors.ts';
import type { Memory } from '../machine/memory.ts';
import type { VCpuCounts } from '../machine/vcpu.ts';
import { Compiler, type CompilerOptions, type RegionCompiler } from './compiler/compiler.ts';
import { writeDecodeTables } from './decode-tables.ts';
import { buildInterpreter } from './interpreter/build.ts';
import { Variants } from './interpreter/variants.ts';
import type { Variant } from './ops.ts';
import * as L from './runtime/layout.ts';
import { State } from './state.ts';

/** Functions of the runtime (AssemblyScript) that TypeScript calls. Linear addresses are u64 as bigint. */
export interface Runtime {
  codePage(va: bigint, mode: number): number;
  codeHost: WebAssembly.Global<'i32'>;
  crossing(record: number): number;
  hasRoom(): number;
  decodeRun(page: number, host: number, offset: number, mode: number): number;
  decodeCrossing(start: number, bytes: number, mode: number, offset: number, record: number): void;
  resetArena(): void;
  deviceWrote(first: number, last: number): void;
  flushTlb(): void;
  flushAllNonGlobal(): void;
  flushPcid(pcid: number): void;
  loadCr3(value: bigint): void;
  flushPage(va: bigint): void;
  flushCodeTlb(): void;
  selectTlb(): void;
  x87SetControl(value: number): void;
  x87SetStatus(value: number): void;
  systemRead(va: bigint, at: number, bytes: number, access: number): number;
  systemWrite(va: bigint, at: number, bytes: number, access: number): number;
  slowRead(va: bigint, flags: number): number;
  slowWrite(va: bigint, flags: number): number;
  commit(): void;
  linearAddress(record: number, access: number): bigint;
  effectiveAddress(record: number): bigint;
  segmented(segment: number, offset: bigint, access: number): bigint;
}

export interface EngineModules {
  /** Compiled from src/x86/runtime. */
  readonly runtime: WebAssembly.Module;
  /** What `buildInterpreter` of the same sources gives; absent: it is made now, which takes a third of a second. */
  readonly handlers?: WebAssembly.Module | undefined;
  /** Compiles guest code; absent: as any module. */
  readonly compileRegions?: RegionCompiler | undefined;
}

export interface EngineHost {
  mmioRead(low: number, high: number, width: number): number;
  mmioWrite(low: number, high: number, width: number, value: number): void;
}

const MAX_LENGTH = 15;

/** `codePage` answered that there is nothing to run. */
const FAULT = 0;
const NOT_RAM = 1;
const ARENA_FULL = 2;

export class Engine {
  readonly memory: Memory;
  readonly state: State;
  readonly runtime: Runtime;
  readonly variants = new Variants();
  /** Compiles hot code; absent: everything is interpreted. */
  readonly compiler: Compiler | undefined;
  readonly #enter: (record: number) => number;
  readonly #enterCrossing: (record: number) => number;
  readonly #find: (va: bigint) => number;
  readonly #replaced: { record: number; handler: number; was: number }[] = [];
  /** Counts arena resets: record addresses of an earlier generation are void. */
  generation = 0;

  constructor(memory: Memory, modules: EngineModules, features: ReadonlySet<string>, host: EngineHost, compiler?: CompilerOptions) {
    assert(memory.ramOffset === L.RAM, 'RAM begins where the layout says');
    this.memory = memory;
    this.state = new State(memory.wasm.buffer);
    const bringPage = (page: number): void => memory.bring(page);
    const imports = { host: { mmioRead: host.mmioRead, mmioWrite: host.mmioWrite, bringPage }, env: { memory: memory.wasm, abort() {} } };
    const runtime = new WebAssembly.Instance(modules.runtime, imports);
    this.runtime = runtime.exports as unknown as Runtime;
    const handlers = modules.handlers ?? new WebAssembly.Module(buildInterpreter(this.variants));
    const interpreter = new WebAssembly.Instance(handlers, {
      host: { memory: memory.wasm },
      runtime: runtime.exports,
    });
    this.#enter = interpreter.exports['enter'] as (record: number) => number;
    this.#enterCrossing = interpreter.exports['enterCrossing'] as (record: number) => number;
    this.#find = interpreter.exports['find'] as (va: bigint) => number;
    const { state } = this;
    writeDecodeTables(state, features, this.variants);
    const [low, high] = memory.ranges.map(({ size }) => BigInt(size));
    const placeRam = (absent: boolean): void => {
      const [seen, hidden] = absent ? [L.ABSENT_LOW, L.RAM_LOW] : [L.RAM_LOW, L.ABSENT_LOW];
      state.setU64(seen, low!);
      state.setU64(seen + 8, high ?? 0n);
      state.setU64(hidden, 0n);
      state.setU64(hidden + 8, 0n);
    };
    placeRam(false);
    memory.onAbsence = placeRam;
    state.setU32(L.DIRTY_MAP, memory.dirty.byteOffset);
    this.runtime.resetArena();
    this.runtime.flushTlb();
    memory.onWritten = (gpa, length) => {
      const first = memory.hostOffset(gpa, length) - L.RAM;
      this.runtime.deviceWrote(Math.floor(first / 4096), Math.floor((first + length - 1) / 4096));
    };
    if (compiler) {
      const functions = { ...runtime.exports, ...interpreter.exports };
      const table = interpreter.exports['table'] as WebAssembly.Table;
      const { compileRegions = (bytes) => new WebAssembly.Module(bytes) } = modules;
      this.compiler = new Compiler(
        { state, memory, functions, table, compileRegions, interpretedBy: this.#interpretedBy, variantOf: this.#variantOf },
        compiler,
      );
    }
  }

  /** Figures, for people: what the engine knows of them. */
  get counts(): Omit<VCpuCounts, 'instructions' | 'interpreted' | 'exits'> {
    const count = (address: number): number => Number(this.state.u64(address));
    return {
      compiled: count(L.COUNT_COMPILED) / L.RECORD_BYTES,
      decoded: count(L.COUNT_DECODED),
      tlbMisses: count(L.COUNT_TLB_MISSES),
      invalidations: count(L.COUNT_INVALIDATIONS),
      ...(this.compiler && { compiler: { ...this.compiler.counts } }),
    };
  }

  /** Runs from a record until handlers are left; answers why (EXIT_*). */
  enter(record: number): number {
    return record < L.ARENA ? this.#enterCrossing(record) : this.#enter(record);
  }

  /** The handler that interprets a record, also where compiled code begins. */
  readonly #interpretedBy = (record: number): number => {
    const note = this.state.u32(record + L.R_NOTE);
    const handler = this.state.u16(record);
    return note & L.NOTE_ENTRY && handler >= L.H_FIRST ? note & 0xffff : handler;
  };

  readonly #variantOf = (handler: number): Variant | undefined => this.variants.all[handler - L.H_FIRST];

  /** The variant whose handler a record names. */
  variantOf(record: number): Variant {
    return this.#variantOf(this.#interpretedBy(record))!;
  }

  /** Empties the arena: record addresses are void. */
  resetArena(): void {
    this.runtime.resetArena();
    this.generation++;
    this.compiler?.forgetAll();
  }

  /** Record of the instruction at a linear address, decoded now if it was not yet; 0 when the fetch faults (recorded). */
  lookup(va: bigint): number {
    const known = this.#find(va);
    if (known !== 0) return known;
    const mode = this.state.u32(L.CODE_MODE);
    let page = this.runtime.codePage(va, mode);
    if (page === FAULT) return 0;
    if (page === ARENA_FULL || !this.runtime.hasRoom()) {
      this.resetArena();
      page = this.runtime.codePage(va, mode);
    }
    if (page === NOT_RAM) {
      // No memory answers: the bytes read as all ones, which is no instruction.
      this.state.setU32(L.FAULT_VECTOR, 6);
      this.state.setU32(L.FAULT_ERROR, 0);
      return 0;
    }
    this.state.setU64(L.PAGE_BASE, va & ~0xfffn);
    const offset = Number(va & 0xfffn);
    const existing = this.state.recordAt(page, offset);
    return existing !== 0 ? existing : this.runtime.decodeRun(page, this.runtime.codeHost.value >>> 0, offset, mode) >>> 0;
  }

  /**
   * Record of an instruction that begins on one page, at `from`, and ends on the next. Stays known until either page's
   * bytes change. 0 when fetching the second page faults.
   */
  lookupCrossing(va: bigint, from: number): number {
    const { state, runtime } = this;
    const { bytes } = this.memory;
    const mode = state.u32(L.CODE_MODE);
    const offset = Number(va & 0xfffn);
    const here = 4096 - offset;
    if (runtime.codePage(va, mode) === FAULT) return 0;
    const first = (runtime.codeHost.value >>> 0) + offset;
    const nextVa = mode === 2 ? BigInt.asUintN(64, va - BigInt(offset) + 4096n) : (va - BigInt(offset) + 4096n) & 0xffffffffn;
    const page = runtime.codePage(nextVa, mode);
    if (page === FAULT) return 0;
    state.setU64(L.PAGE_BASE, va - BigInt(offset));
    const known = runtime.crossing(from);
    if (known !== 0) return known;

    const rest = L.TRANSFER + here;
    bytes.copyWithin(L.TRANSFER, first, first + here);
    if (page === NOT_RAM) bytes.fill(0xff, rest, rest + MAX_LENGTH);
    else bytes.copyWithin(rest, runtime.codeHost.value >>> 0, (runtime.codeHost.value >>> 0) + MAX_LENGTH);
    const head = L.CROSSING + ((from >>> 5) & (L.CROSSINGS - 1)) * L.CROSSING_BYTES;
    const record = head + L.RECORD_BYTES;
    runtime.decodeCrossing(L.TRANSFER, here + MAX_LENGTH, mode, offset, record);
    const isCode = page !== NOT_RAM && page !== ARENA_FULL;
    state.setU32(head + L.X_RECORD, isCode ? from : 0);
    if (isCode) {
      state.setU32(head + L.X_PAGE, page);
      state.setU32(head + L.X_VERSION, state.u32(page + L.CP_VERSION));
      state.setU32(page + L.CP_CROSSED, MAX_LENGTH - 1);
    }
    return record;
  }

  /**
   * Makes straight execution from a record stop after `count` instructions, unless its run ends before. Undone by
   * `removeStop`.
   */
  plantStop(record: number, count: number): void {
    let at = record;
    for (let n = 0; n < count; n++, at += L.RECORD_BYTES) if (this.state.u16(at) === L.H_END) return;
    if (this.state.u16(at) === L.H_END) return;
    this.#replace(at, L.H_STOP);
    // A pair must not run past it.
    const before = at - L.RECORD_BYTES;
    if (count > 0 && this.#interpretedBy(before) < L.H_FIRST + this.variants.pairs)
      this.#replace(before, this.variants.numberOf(this.variantOf(before)));
  }

  #replace(record: number, handler: number): void {
    this.#replaced.push({ record, handler, was: this.state.u16(record) });
    this.state.setU16(record, handler);
  }

  /** Puts back what `plantStop` replaced, but for what has become stale meanwhile. */
  removeStop(): void {
    for (const { record, handler, was } of this.#replaced) if (this.state.u16(record) === handler) this.state.setU16(record, was);
    this.#replaced.length = 0;
  }
}
