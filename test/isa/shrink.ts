/** Makes a failing case smaller, for people to read. */
import { FP, initialFp, type Case } from '../native/case.ts';
import { DATA_SIZE } from '../native/layout.ts';

const NOTHING = new Uint8Array(DATA_SIZE);

/** Simplifies one aspect after another for as long as `fails` says that the case still fails. */
export async function shrink(failing: Case, fails: (c: Case) => Promise<boolean>): Promise<Case> {
  let best = failing;
  const attempt = async (change: Partial<Case>): Promise<boolean> => {
    const simpler = { ...best, ...change };
    if (!(await fails(simpler))) return false;
    best = simpler;
    return true;
  };
  await attempt({ image: NOTHING });
  await attempt({ patches: [] });
  for (let i = best.patches.length - 1; i >= 0; i--) await attempt({ patches: best.patches.toSpliced(i, 1) });
  await attempt({ fp: initialFp() });
  const plain = initialFp();
  const ranges = [[FP.fcw, 6], [FP.mxcsr, 8], ...Array.from({ length: 24 }, (_, i) => [FP.st + 16 * i, 16]), ...Array.from({ length: 16 }, (_, i) => [FP.ymmHigh + 16 * i, 16])] as const; // prettier-ignore
  for (const [at, length] of ranges) {
    const fp = best.fp.slice();
    fp.set(plain.subarray(at!, at! + length!), at);
    if (Buffer.compare(fp, best.fp) !== 0) await attempt({ fp });
  }
  await attempt({ rflags: 2 });
  for (let bit = 0; bit < 22; bit++) if (best.rflags & (1 << bit) & ~2) await attempt({ rflags: best.rflags & ~(1 << bit) });
  await attempt({ fsBase: 0n });
  await attempt({ gsBase: 0n });
  for (let i = 0; i < 16; i++) {
    const old = best.gprs[i]!;
    for (const value of [0n, 1n, old & 0xffn, old & 0xffff_ffffn]) {
      if (value === old || (await attempt({ gprs: best.gprs.with(i, value) }))) break;
    }
  }
  return best;
}
