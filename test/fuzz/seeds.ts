/** How long fuzzers run, and from which seeds. */
import { seededRandom } from '../../src/machine/testing/random.ts';

/** Seconds for each fuzzer; DAYBREAK_FUZZ_SECONDS asks for more. */
export const SECONDS = Number(process.env['DAYBREAK_FUZZ_SECONDS'] ?? 6);
/** DAYBREAK_FUZZ_SEED repeats one case. */
const ONLY = process.env['DAYBREAK_FUZZ_SEED'];

export type Random = (bound: number) => number;

/** Runs `one` with seed after seed while time lasts; answers how many. A failure names its seed. */
export async function fuzz(name: string, one: (random: Random, seed: number) => void | Promise<void>, seconds = SECONDS): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  // The first seeds are the same in every run, so that a failure there is everybody's.
  for (let seed = ONLY === undefined ? 1 : Number(ONLY); performance.now() < end; seed++) {
    try {
      await one(seededRandom(seed), seed);
    } catch (error) {
      throw new Error(`${name}: repeat with DAYBREAK_FUZZ_SEED=${seed}: ${error instanceof Error ? error.stack : String(error)}`, {
        cause: error,
      });
    }
    count++;
    if (ONLY !== undefined) break;
  }
  return count;
}

export const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)]!;

/** A 64-bit number that is likely to be one at which something changes. */
export function oddNumber(random: Random): bigint {
  const any = (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));
  switch (random(6)) {
    case 0:
      return any;
    case 1:
      return BigInt(random(0x10000));
    case 2:
      return BigInt(random(0x400000));
    case 3:
      return BigInt.asUintN(64, -BigInt(random(0x10000)));
    case 4:
      return 1n << BigInt(random(64));
    default:
      return any >> BigInt(random(64));
  }
}
