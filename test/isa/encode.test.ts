import { afterAll, beforeAll, expect, test } from 'vitest';
import { ENCODINGS } from '../../src/x86/isa/table.ts';
import { NativeUnavailable } from '../native/build.ts';
import type { Mode } from '../native/case.ts';
import { NativeCpu } from '../native/native.ts';
import { Random } from '../native/random.ts';
import { instructionCase, makePools, unjudged } from './cases.ts';
import { caseText, differences, isJudgement } from './compare.ts';
import { fitsMode } from './encode.ts';

const SAMPLES = 60;
const UD = 6;
/** Rows that mean #UD, at once or at CPL 3, or outside of what the case can be. */
const UNDEFINED = new Set(['ud0', 'ud1', 'ud2', 'clac', 'stac', 'sysexit', 'monitor', 'mwait', 'serialize']);

let cpu: NativeCpu | undefined;
beforeAll(async () => {
  cpu = await NativeCpu.create().catch((error: unknown) => {
    if (!(error instanceof NativeUnavailable)) throw error;
    console.warn(`skipped: ${error.message}`);
    return undefined;
  });
});
afterAll(() => cpu?.dispose());

test.for([64, 32, 16] as Mode[])('the host knows what is generated for every encoding in %i-bit code', async (mode, { skip }) => {
  if (!cpu || (mode === 16 && !cpu.features.code16)) skip();
  const random = new Random(1);
  const pools = makePools(random);
  const encodings = ENCODINGS.filter((e) => fitsMode(e, mode) && !unjudged(e, cpu!.features) && !UNDEFINED.has(e.row.mnemonic));
  const results = await cpu!.run(encodings.flatMap((e) => Array.from({ length: SAMPLES }, () => instructionCase(random, pools, e, mode))));
  expect(results.filter(({ kind }) => kind === 'crash' || kind === 'entry-fault')).toEqual([]);
  const refused = encodings.filter((_, i) => {
    const undefinedOnes = results.slice(i * SAMPLES, (i + 1) * SAMPLES).filter(({ kind, vector }) => kind === 'fault' && vector === UD);
    return undefinedOnes.length > SAMPLES * 0.7;
  });
  expect(refused.map(({ row, text }) => `${row.mnemonic} ${text}`)).toEqual([]);
});

test('the host says the same of a case each time, whatever ran before it', async ({ skip }) => {
  if (!cpu) skip();
  const random = new Random(2);
  const pools = makePools(random);
  const encodings = ENCODINGS.filter((e) => fitsMode(e, 64) && !unjudged(e, cpu!.features));
  const cases = Array.from({ length: 4000 }, () => instructionCase(random, pools, random.pick(encodings), 64));
  const first = await cpu!.run(cases);
  const second = (await cpu!.run(cases.toReversed())).toReversed();
  for (const [i, result] of first.entries()) {
    if (isJudgement(result) && result.kind !== 'timeout') expect(differences(result, second[i]!), caseText(cases[i]!)).toEqual([]);
  }
});
