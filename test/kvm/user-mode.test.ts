/**
 * User-mode instructions: our interpreter does what a guest on KVM does. Such code runs on the host's processor even where KVM emulates the
 * guest's kernel, but in a guest's address space, with its exceptions through its tables.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { interpreter } from '../../src/x86/accelerator.ts';
import { ENCODINGS } from '../../src/x86/isa/table.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { unjudged } from '../isa/cases.ts';
import { Differential } from '../isa/differential.ts';
import { EngineCpu } from '../isa/engine.ts';
import { probeKvm } from '../../src/node/kvm/probe.ts';
import type { Case, Result } from '../native/case.ts';
import { NativeUnavailable } from '../native/build.ts';
import { NativeCpu } from '../native/native.ts';
import { openKvm, type Kvm } from './guest.ts';
import { UserCpu, withoutAvx } from './user-cpu.ts';

/** Each costs some sixty calls of KVM. */
const CASES = Number(process.env['DAYBREAK_KVM_CASES'] ?? 2000);
const SEED = Number(process.env['DAYBREAK_SEED'] ?? 1);

/** Of KVMs without hardware virtualisation: software interrupts do not reach the guest's IDT. docs/kvm.md. */
const NOT_EVERYWHERE = new Set(['int', 'into']);
const SEGMENTS = /Sw|^0F A[0189]|^0F B[245]/;
const NT = 0x4000;
/** Exceptions that every KVM delivers as they are: #DE. Without hardware virtualisation, others come as #UD, #GP or #PF, or half done. */
const ALWAYS_RIGHT = new Set([0]);
const GENERAL_PROTECTION = 13;
const NEEDS_AVX = /^(avx|fma|f16c|vaes|vpclmul|gfni)/;

let kvm: Kvm | undefined;
let native: NativeCpu | undefined;
let runtime: WebAssembly.Module;
beforeAll(async () => {
  kvm = await openKvm();
  runtime = await compileRuntime();
  // It knows what this processor has.
  native = await NativeCpu.create().catch((error: unknown) => {
    if (!(error instanceof NativeUnavailable)) throw error;
    console.warn(`skipped: ${error.message}`);
    return undefined;
  });
}, 600_000);
afterAll(() => {
  kvm?.accelerator.dispose();
  native?.dispose();
});

test(`the interpreter does what a guest on KVM does, in ${CASES} cases of user-mode code`, { timeout: 3_600_000 }, async (context) => {
  if (!kvm) return context.skip('no KVM here');
  if (!native) return context.skip('nothing here that tells what the processor has');
  const { features } = native;
  const whole = probeKvm(kvm.accelerator).every(({ works }) => works);
  const encodings = ENCODINGS.filter(
    (e) =>
      !unjudged(e, features) &&
      !NOT_EVERYWHERE.has(e.row.mnemonic) &&
      !NEEDS_AVX.test(e.row.feature ?? '') &&
      (whole || !SEGMENTS.test(e.text)),
  );
  const guest = new UserCpu(kvm);
  const engine = new EngineCpu(interpreter(runtime));
  if (!whole) console.warn('no hardware virtualisation: NT, segment registers and exceptions other than #DE are not compared');
  const asGiven = (c: Case): Case => withoutAvx(whole ? c : { ...c, rflags: c.rflags & ~NT });
  // What should be #GP goes to such a KVM's emulator, which may execute it.
  const judged = (result: Result, c: Case): Result => {
    if (whole) return result;
    const doubtful = result.kind === 'fault' ? !ALWAYS_RIGHT.has(result.vector) : engine.run([c])[0]!.vector === GENERAL_PROTECTION;
    return doubtful ? { ...result, kind: 'crash' } : result;
  };
  const differential = new Differential(
    {
      async run(cases) {
        const given = cases.map(asGiven);
        return (await guest.run(given)).map((result, n) => judged(result, given[n]!));
      },
    },
    { run: (cases, budget) => engine.run(cases.map(asGiven), budget) },
  );
  await differential.run({ seed: SEED, cases: CASES, encodings, modes: [64], sequences: 15 });
  guest.vcpu.dispose();
  const failures = [...differential.tallies].filter(([, { failed }]) => failed > 0);
  const text = failures.map(([name, { failed, judged, example }]) => `${name}: ${failed} of ${judged} differ\n${example}\n`).join('\n');
  console.log(`${differential.judged} cases compared, ${differential.tallies.size} encodings; ${differential.failed} differ\n${text}`);
  expect(differential.judged).toBeGreaterThan(CASES / 2);
  expect(differential.failed, text).toBe(0);
});
