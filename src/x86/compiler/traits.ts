/** What the compiler has to know of a shape of an encoding before it builds code: found out by building it once. */
import type { Callees, Variant } from '../ops.ts';
import { RUNTIME } from '../interpreter/support.ts';
import * as L from '../runtime/layout.ts';
import { FunctionBuilder, type Node } from '../wasm/ir.ts';
import { LazyFlags } from './lazy-flags.ts';
import { NotCompiled, StepOps, type Surroundings } from './step-ops.ts';
import type { Step } from './step.ts';

export interface Traits {
  /** The interpreter does it. */
  readonly compiled: boolean;
  /** Somebody may look at the flags as they were before it: the instruction itself, or whoever goes on when it leaves. */
  readonly looksAtFlags: boolean;
  /** Sets all arithmetic flags, whatever happens. */
  readonly setsFlags: boolean;
  /** How it ends: by falling through, or by a transfer of control. */
  readonly ending: 'next' | 'jump' | 'branch' | 'call' | 'return' | 'indirect';
  /** FPU_TRAP bit of the unit that it needs; 0 none. */
  readonly unit: number;
  /** Functions of the runtime that it calls. */
  readonly callees: readonly string[];
}

/** Bits of FPU_TRAP. */
export const UNIT_BIT = { x87: 1, mmx: 2, sse: 4, avx: 8 } as const;

/** Functions of the runtime that read general registers from the state or write to guest memory by themselves. */
const INTERPRETED: ReadonlySet<string> = new Set(
  (
    'slowRead slowWrite commit effectiveAddress linearAddress stackAddress legacyTarget addressMask writeAddressSized segmented displacedAddress ' +
    'loadCr3 bulkMovs bulkStos bulkLods bulkCmps bulkScas gatherAddress x87StoreEnvironment x87LoadEnvironment x87Save x87Restore ' +
    'areaAligned fxsave fxrstor xsave xrstor interruptReturn'
  ).split(' '),
);

const NOT_COMPILED: Traits = { compiled: false, looksAtFlags: true, setsFlags: false, ending: 'next', unit: 0, callees: [] };

class ProbeOps extends StepOps {
  override immediate(): Node {
    return this.b.get(this.b.variable('i64'));
  }
}

/** Operands of a step that is only looked at. */
function example(variant: Variant): Step {
  const register = (letter: string): number =>
    'EGRZBF'.includes(letter) ? L.GPR : 'PQN'.includes(letter) ? L.X87 : 'SCDT'.includes(letter) ? 0 : L.YMM;
  const of = (letters: string): number => {
    const operand = variant.encoding.operands.find(({ letter }) => letters.includes(letter));
    return operand ? register(operand.letter) : L.GPR;
  };
  const memory = variant.memory !== 'none';
  return {
    record: 0,
    variant,
    at: 0,
    length: 1,
    reg: of('GVPSCD'),
    rm: memory ? L.GPR : of('ERZWUQNT'),
    index: memory ? L.GPR : L.ZERO,
    third: of('BH'),
    scale: 0,
    segment: 3,
    flags: 0,
    displacement: 0,
    immediate: 0n,
  };
}

function probe(variant: Variant): Traits {
  const { row } = variant.encoding;
  const { semantics } = row;
  if (typeof semantics === 'string' || !variant.long) return NOT_COMPILED;
  const used = new Set<string>();
  const callees = new Proxy({} as Callees, {
    get(_, name: string) {
      if (INTERPRETED.has(name)) throw new NotCompiled(name);
      used.add(name);
      return { index: 0, signature: RUNTIME[name]! };
    },
  });
  const b = new FunctionBuilder({ params: [], results: [] });
  const flags = new LazyFlags(b);
  const untouched = flags.now;
  const value = b.get(b.variable('i64'));
  const vector = b.get(b.variable('v128'));
  const table = b.get(b.variable('i32'));
  let leaves = false;
  let ending: Traits['ending'] = 'next';
  const around: Surroundings = {
    b,
    flags,
    linear: () => value,
    readGpr: () => value,
    writeGpr() {},
    readVector: () => vector,
    writeVector() {},
    showVector() {},
    tlb: () => table,
    tlbChanged() {},
    position: () => table,
    leave: () => (leaves = true),
    leaveIf: () => (leaves = true),
    goTo: () => (ending = row.mnemonic === 'call' ? 'call' : 'jump'),
    branch: () => (ending = 'branch'),
    jumpTo: () => (ending = row.mnemonic === 'ret' ? 'return' : 'indirect'),
  };
  try {
    semantics(new ProbeOps(example(variant), around, callees));
  } catch (error) {
    if (error instanceof NotCompiled) return NOT_COMPILED;
    throw error;
  }
  const looks = used.delete('storeFlags');
  return {
    compiled: true,
    looksAtFlags: leaves || looks,
    setsFlags: flags.now !== untouched && flags.now.kind !== undefined && flags.now.kind !== L.LAZY_MEMORY,
    ending,
    unit: row.unit ? UNIT_BIT[row.unit] : 0,
    callees: [...used],
  };
}

export class TraitTable {
  readonly #known = new Map<Variant, Traits>();

  of(variant: Variant): Traits {
    let traits = this.#known.get(variant);
    if (!traits) {
      traits = probe(variant);
      this.#known.set(variant, traits);
    }
    return traits;
  }
}
