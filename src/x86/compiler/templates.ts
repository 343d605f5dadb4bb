/** Templates of instructions in the engine's memory, by shape: each is recorded when a region first wants it. */
import type { Callees, Variant } from '../ops.ts';
import { RUNTIME } from '../interpreter/support.ts';
import * as C from '../runtime/compile/codes.ts';
import * as L from '../runtime/layout.ts';
import type { State } from '../state.ts';
import { NotCompiled, record, type Recorded } from './record.ts';

/** Bits of FPU_TRAP. */
const UNIT_BIT = { x87: 1, mmx: 2, sse: 4, avx: 8 } as const;

/** Functions of the runtime that read general registers from the state or write to guest memory by themselves. */
const INTERPRETED: ReadonlySet<string> = new Set(
  (
    'slowRead slowWrite commit effectiveAddress linearAddress stackAddress legacyTarget addressMask writeAddressSized segmented displacedAddress ' +
    'loadCr3 bulkMovs bulkStos bulkLods bulkCmps bulkScas gatherAddress x87StoreEnvironment x87LoadEnvironment x87Save x87Restore ' +
    'areaAligned fxsave fxrstor xsave xrstor interruptReturn'
  ).split(' '),
);

const MOST_CALLEES = 256;

export class Templates {
  readonly #state: State;
  readonly #words: Int32Array;
  readonly #variantOf: (handler: number) => Variant | undefined;
  #next = L.COMPILE_TEMPLATES;
  #byteShapes = 0;
  /** Functions by their numbers in templates. */
  readonly callees: string[] = [];

  /** @param variantOf what a handler of the interpreter interprets; undefined: no instruction */
  constructor(state: State, variantOf: (handler: number) => Variant | undefined) {
    this.#state = state;
    this.#words = new Int32Array(state.view.buffer);
    this.#variantOf = variantOf;
    this.callees[C.CALLEE_STORE_FLAGS] = 'storeFlags';
  }

  /** @param shape a handler's number, with the immediate's low byte from bit 16 on */
  learn(shape: number): void {
    const handler = shape & 0xffff;
    const variant = this.#variantOf(handler);
    const { value, forByte } = variant ? this.#record(variant, shape >> 16) : { value: C.SHAPE_NONE, forByte: false };
    const at = L.COMPILE_SHAPES + handler * 4;
    if (!forByte) this.#state.setU32(at, value);
    else if (this.#byteShapes === L.COMPILE_BYTE_SHAPE_COUNT) {
      // No guest that is not after this has so many: what is compiled already stays so.
      this.#state.setU32(at, C.SHAPE_INTERPRETED);
    } else {
      const entry = L.COMPILE_BYTE_SHAPES + this.#byteShapes++ * 8;
      this.#state.setU32(at, C.SHAPE_BY_BYTE);
      this.#state.setU32(entry, shape);
      this.#state.setU32(entry + 4, value);
    }
  }

  #record(variant: Variant, byte: number): { value: number; forByte: boolean } {
    const { semantics, ends } = variant.encoding.row;
    const interpreted = { value: ends ? C.SHAPE_ENDS : C.SHAPE_INTERPRETED, forByte: false };
    if (typeof semantics === 'string' || !variant.long) return interpreted;
    const callees = new Proxy({} as Callees, {
      get: (_, name: string) => ({ index: this.#numberOf(name), signature: RUNTIME[name]! }),
    });
    try {
      const recorded = record(variant, semantics, byte, callees);
      return { value: this.#write(variant, recorded), forByte: recorded.forByte };
    } catch (error) {
      if (error instanceof NotCompiled) return interpreted;
      throw error;
    }
  }

  #numberOf(name: string): number {
    if (INTERPRETED.has(name)) throw new NotCompiled(name);
    const number = this.callees.indexOf(name);
    if (number >= 0) return number;
    if (this.callees.length === MOST_CALLEES) throw new NotCompiled(name);
    return this.callees.push(name) - 1;
  }

  /** Puts a template into memory; answers its address. */
  #write(variant: Variant, recorded: Recorded): number {
    const { words, slots, leaves, looksAtFlags, setsFlags } = recorded;
    const { row, vex } = variant.encoding;
    const template = this.#next;
    const end = template + C.TEMPLATE_CODE + words.length * 4;
    if (end > L.COMPILE_TEMPLATES_END) throw new NotCompiled('no room');
    const put = (at: number, value: number): void => this.#state.setU32(template + at, value);
    put(C.TEMPLATE_SLOTS, slots);
    put(C.TEMPLATE_UNIT, row.unit ? UNIT_BIT[row.unit] : 0);
    const bit = (condition: boolean, value: number): number => (condition ? value : 0);
    put(
      C.TEMPLATE_BITS,
      bit(vex, C.TEMPLATE_VEX) |
        bit(leaves || looksAtFlags, C.TEMPLATE_LOOKS) |
        bit(setsFlags, C.TEMPLATE_SETS) |
        bit(row.mnemonic === 'call' || row.mnemonic === 'syscall', C.TEMPLATE_COMES_BACK),
    );
    put(C.TEMPLATE_ENDING, endingOf(row.mnemonic, recorded.ending));
    put(C.TEMPLATE_WORDS, words.length);
    this.#words.set(words, (template + C.TEMPLATE_CODE) / 4);
    this.#next = end;
    return template;
  }
}

function endingOf(mnemonic: string, ending: number | undefined): number {
  if (ending === C.T_GO) return mnemonic === 'call' ? C.END_CALL : C.END_JUMP;
  if (ending === C.T_BRANCH) return C.END_BRANCH;
  if (ending === C.T_JUMP) return mnemonic === 'ret' ? C.END_RETURN : C.END_INDIRECT;
  return C.END_NEXT;
}
