/** Which shapes of which encodings there are, and their handler numbers. */
import { ENCODINGS } from '../isa/table.ts';
import type { Encoding } from '../isa/encoding.ts';
import type { MemoryKind, Variant } from '../ops.ts';
import { commonOf } from './common.ts';
import { H_FIRST } from '../runtime/layout.ts';

const SIZES = [16, 32, 64] as const;
const MEMORY: readonly MemoryKind[] = ['none', 'simple', 'general'];
const REPS = ['none', 'rep', 'repne'] as const;
const PER_ENCODING = SIZES.length * MEMORY.length * REPS.length * 2;

/** The decoder (runtime/decode.ts) counts the same way. */
function key(encoding: number, size: number, memory: number, rep: number, long: boolean): number {
  return (((encoding * 3 + size) * 3 + memory) * 3 + rep) * 2 + (long ? 1 : 0);
}

/** Whether ModRM of this encoding may name memory. */
export function mayAddressMemory(encoding: Encoding): boolean {
  return encoding.operands.some(({ letter }) => 'EWQMO'.includes(letter)) && encoding.form !== 'reg' && !encoding.row.registerForm;
}

function variantsOf(encoding: Encoding): Variant[] {
  const { row } = encoding;
  const variants: Variant[] = [];
  const memoryKinds: MemoryKind[] = [];
  const onlyMemory = encoding.form === 'mem' || encoding.operands.some(({ letter }) => letter === 'O');
  if (row.addressed) memoryKinds.push('simple', 'general');
  else {
    if (!onlyMemory) memoryKinds.push('none');
    if (mayAddressMemory(encoding)) memoryKinds.push('simple', 'general');
  }
  for (const long of row.modal ? [true, false] : [true]) {
    if (long ? row.no64 && row.modal : row.only64 && row.modal) continue;
    for (const operandSize of encoding.sized ? SIZES : ([32] as const)) {
      if (row.modal && (long ? row.stack64 && operandSize === 32 : operandSize === 64)) continue;
      for (const memory of memoryKinds) {
        if (memory === 'simple' && (!long || row.no64)) continue;
        for (const rep of row.string ? REPS : (['none'] as const)) variants.push({ encoding, operandSize, memory, long, rep });
      }
    }
  }
  return variants;
}

/** Every variant, numbered: handler `H_FIRST + i` begins with `all[i]`. */
export class Variants {
  readonly all: readonly Variant[];
  /** Handler number by encoding and shape (`key`), 0 where there is none; `shapes` an encoding. */
  readonly numbers: Uint16Array;
  readonly shapes = PER_ENCODING;
  /** The first so many of all stand there for pairs with the conditional jump after them; the variants themselves come later. */
  readonly pairs: number;
  /** The first so many, pairs included, are cases of one function, the last `jumps` of them being one case together. */
  readonly common: number;
  readonly jumps: number;

  constructor() {
    const all = ENCODINGS.flatMap(variantsOf);
    const { plain, tests, jumps } = commonOf(all);
    this.pairs = tests.length;
    this.jumps = jumps.length;
    this.common = tests.length + plain.length + jumps.length;
    this.all = [...tests, ...new Set([...plain, ...jumps, ...all])];
    this.numbers = new Uint16Array(ENCODINGS.length * PER_ENCODING);
    this.all.forEach(({ encoding, operandSize, memory, rep, long }, i) => {
      this.numbers[key(encoding.number, SIZES.indexOf(operandSize), MEMORY.indexOf(memory), REPS.indexOf(rep), long)] = H_FIRST + i;
    });
  }

  /** Handler number of a variant of this table by itself. */
  numberOf({ encoding, operandSize, memory, rep, long }: Variant): number {
    return this.numbers[key(encoding.number, SIZES.indexOf(operandSize), MEMORY.indexOf(memory), REPS.indexOf(rep), long)]!;
  }
}
