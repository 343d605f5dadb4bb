/** Runs generated cases on the host's processor and in the engine, and collects what differs. */
import type { Encoding } from '../../src/x86/isa/encoding.ts';
import type { Case, Mode, Result } from '../native/case.ts';
import type { NativeCpu } from '../native/native.ts';
import { Random } from '../native/random.ts';
import { instructionCase, makePools, sequenceCase, unjudged } from './cases.ts';
import { caseText, differences, disassemble, isJudgement, type Tolerance } from './compare.ts';
import { fitsMode } from './encode.ts';
import { shrink } from './shrink.ts';
import { toleranceFor, undefinedFlags } from './tolerance.ts';

const CHUNK = 4000;
/** Failures worth a smallest case; the others are only counted. */
const EXPLAINED = 150;
/** Enough for any loop that the host finishes before its timer. */
const LONG_BUDGET = 30_000_000;

/** What says how it should be: the host's processor. */
interface Judge {
  run(cases: readonly Case[]): Promise<Result[]>;
}

/** What is judged. */
interface Judged {
  run(cases: readonly Case[], budget?: number): Result[];
}

interface Item {
  readonly given: Case;
  readonly encoding: Encoding | undefined;
  readonly tolerance: Tolerance;
}

/** One encoding's record. */
export interface Tally {
  judged: number;
  /** Cases that the host ended without a fault. */
  ended: number;
  failed: number;
  /** The first failure, for people. */
  example: string;
}

export interface Plan {
  readonly seed: number;
  readonly cases: number;
  readonly encodings: readonly Encoding[];
  readonly modes: readonly Mode[];
  /** Percent of cases that are sequences. */
  readonly sequences: number;
}

export class Differential {
  readonly tallies = new Map<string, Tally>();
  readonly #native: Judge;
  readonly #engine: Judged;
  judged = 0;
  failed = 0;
  /** Differences that do not come back when the case is run by itself. */
  readonly onlyInContext: string[] = [];
  #explained = 0;

  constructor(native: Judge, engine: Judged) {
    this.#native = native;
    this.#engine = engine;
  }

  async run(plan: Plan): Promise<void> {
    const chunks = Math.ceil(plan.cases / CHUNK);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const seed = plan.seed + chunk;
      await this.#runChunk(chunkItems(plan, seed, chunk, Math.min(CHUNK, plan.cases - chunk * CHUNK)), seed);
    }
  }

  async #runChunk(items: readonly Item[], seed: number): Promise<void> {
    const cases = items.map(({ given }) => given);
    const pending = this.#native.run(cases);
    const engine = this.#engine.run(cases);
    const native = await pending;
    for (const [i, item] of items.entries()) {
      const ours = settle(this.#engine, item.given, native[i]!, engine[i]!);
      const tally = this.#tally(item);
      if (!isJudgement(native[i]!)) continue;
      this.judged++;
      tally.judged++;
      if (native[i]!.kind === 'end') tally.ended++;
      const found = differences(native[i]!, ours, item.tolerance);
      if (found.length === 0) continue;
      if ((await this.#judge(item.given, item.tolerance)).length === 0) {
        this.onlyInContext.push(`seed ${seed}, case ${i}: ${found.join('; ')}`);
        continue;
      }
      this.failed++;
      tally.failed++;
      if (tally.example === '') tally.example = await this.#explain(item, `seed ${seed}, case ${i}`, found);
    }
  }

  #tally({ given, encoding }: Item): Tally {
    const name = `${given.mode} ${encoding ? `${encoding.row.mnemonic} ${encoding.text}` : 'sequences'}`;
    let tally = this.tallies.get(name);
    if (!tally) this.tallies.set(name, (tally = { judged: 0, ended: 0, failed: 0, example: '' }));
    return tally;
  }

  async #judge(given: Case, tolerance: Tolerance): Promise<string[]> {
    const [native] = await this.#native.run([given]);
    const ours = settle(this.#engine, given, native!, this.#engine.run([given])[0]!);
    return isJudgement(native!) ? differences(native!, ours, tolerance) : [];
  }

  async #explain({ given, tolerance }: Item, where: string, found: readonly string[]): Promise<string> {
    if (++this.#explained > EXPLAINED) return [where, ...found].join('; ');
    const small = await shrink(given, async (c) => (await this.#judge(c, tolerance)).length > 0);
    const lines = await this.#judge(small, tolerance);
    return [where, disassemble(small.code, small.mode, small.rip), ...lines.map((line) => `  ${line}`), caseText(small)].join('\n');
  }
}

/** A case that is only long, not endless, gets another try with more time. */
function settle(engine: Judged, given: Case, native: Result, ours: Result): Result {
  return ours.kind === 'timeout' && native.kind !== 'timeout' ? engine.run([given], LONG_BUDGET)[0]! : ours;
}

/** Encodings in turn, so that any number of cases covers all alike. */
function chunkItems({ encodings, modes, sequences }: Plan, seed: number, chunk: number, count: number): Item[] {
  const random = new Random(seed);
  const pools = makePools(random);
  const plain = encodings.filter((encoding) => {
    const { unit, ends, mnemonic } = encoding.row;
    // Branches would leave the sequence for the middle of something; port access with a count of zero is checked by AMD only.
    if (ends || unit === 'x87' || /^(in|out)s/.test(mnemonic) || encoding.operands.some(({ letter }) => letter === 'J')) return false;
    const { mixed, twoOperands, piecewise } = toleranceFor(encoding, 64);
    // What may differ by the manual's own words is compared by itself, where the tolerance is known.
    return undefinedFlags(encoding) === 0 && !mixed && !twoOperands && !piecewise;
  });
  return Array.from({ length: count }, (_, i) => {
    const turn = chunk * CHUNK + i;
    const encoding = encodings[turn % encodings.length]!;
    const possible = modes.filter((mode) => fitsMode(encoding, mode));
    const mode = possible.length === 0 || random.chance(70) ? (possible[0] ?? modes[0]!) : random.pick(possible);
    if (plain.length > 0 && (possible.length === 0 || random.chance(sequences))) {
      const given = sequenceCase(random, pools, plain, mode, 2 + random.below(10));
      return { given, encoding: undefined, tolerance: { mode } };
    }
    return { given: instructionCase(random, pools, encoding, mode), encoding, tolerance: toleranceFor(encoding, mode) };
  });
}

/** What was compared and what not, one line an encoding. */
export function coverageReport(
  tallies: ReadonlyMap<string, Tally>,
  encodings: readonly Encoding[],
  native: Pick<NativeCpu, 'features'>,
): string {
  const lines = [...tallies].sort(([a], [b]) => (a < b ? -1 : 1));
  const skipped = encodings.flatMap((encoding) => {
    const reason = unjudged(encoding, native.features);
    return reason ? [`${encoding.row.mnemonic} ${encoding.text}: not compared, ${reason}`] : [];
  });
  return [
    'cases  ended  failed  mode, instruction, encoding',
    ...lines.map(
      ([name, t]) => `${String(t.judged).padStart(5)}  ${String(t.ended).padStart(5)}  ${String(t.failed).padStart(6)}  ${name}`,
    ),
    ...skipped,
    '',
  ].join('\n');
}
