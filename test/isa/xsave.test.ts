/** XSAVE and relatives against the host's processor, with the components that the engine has. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildRuntime } from '../../scripts/build-runtime.mjs';
import { interpreter } from '../../src/x86/accelerator.ts';
import { NativeUnavailable } from '../native/build.ts';
import { FP, FP_SIZE, makeCase, type Case, type Mode, type Result } from '../native/case.ts';
import { DATA_LOW, GUARD_PAGE, PAGE, READ_ONLY_PAGE } from '../native/layout.ts';
import { bytes, gprs } from '../native/literal.ts';
import { NativeCpu } from '../native/native.ts';
import { Random } from '../native/random.ts';
import { randomFp, randomImage } from '../native/state.ts';
import { caseText, differences } from './compare.ts';
import { EngineCpu } from './engine.ts';

const RUNTIME = 'build/xsave-test-runtime.wasm';
const CODE = 0x1000_0100;
const CASES = 300;
const XCOMP_BV = FP.header + 8;
const COMPACTED = 1n << 63n;
const PAGE_FAULT = 14;

/** With the area at RDI. */
const SAVES = { xsave: '0fae27', xsaveopt: '0fae37', xsavec: '0fc727' } as const;
const XRSTOR = '0fae2f';

let native: NativeCpu | undefined;
let engine: EngineCpu;
beforeAll(async () => {
  await buildRuntime('src/x86/runtime/index.ts', RUNTIME);
  engine = new EngineCpu(interpreter(new WebAssembly.Module(readFileSync(new URL(`../../${RUNTIME}`, import.meta.url)))));
  native = await NativeCpu.create().catch((error: unknown) => {
    if (!(error instanceof NativeUnavailable)) throw error;
    return undefined;
  });
}, 300_000);
afterAll(() => native?.dispose());

const wide = (mode: Mode, random: Random): string => (mode === 64 && random.chance(50) ? '48' : '');

/** Offset of an area in the data window: mostly good. */
function place(random: Random): number {
  const kind = random.below(20);
  if (kind < 12) return random.below(50) * 64;
  if (kind < 16) return PAGE - 64 * (1 + random.below(12));
  if (kind === 16) return READ_ONLY_PAGE * PAGE + random.below(4) * 64;
  if (kind === 17) return READ_ONLY_PAGE * PAGE - 64 * (1 + random.below(12));
  if (kind === 18) return GUARD_PAGE * PAGE - 64 * (1 + random.below(12));
  return 64 + random.below(64);
}

function instruction(random: Random, mode: Mode, code: string, header: Uint8Array | undefined, offset: number): Case {
  const image = randomImage(random);
  if (header) image.set(header.subarray(0, Math.min(header.length, image.length - offset)), offset);
  return makeCase({
    mode,
    code: bytes(code),
    rip: CODE,
    gprs: gprs({ rax: BigInt(random.below(8)), rdi: BigInt(DATA_LOW + offset) }),
    fp: randomFp(random, 'bytes'),
    image,
  });
}

/** An image with a header that is mostly right. */
function savedImage(random: Random): Uint8Array {
  const area = randomFp(random, 'bytes');
  const view = new DataView(area.buffer);
  const present = random.below(8);
  area.fill(0, FP.header, FP.header + 64);
  view.setBigUint64(FP.header, BigInt(present), true);
  if (random.chance(50))
    view.setBigUint64(XCOMP_BV, COMPACTED | BigInt(random.chance(80) ? present | random.below(8) : random.below(8)), true);
  if (random.chance(4)) view.setUint8(FP.header + random.below(64), 1 << random.below(8));
  if (random.chance(4)) view.setUint32(FP.mxcsr, 1 << random.below(32), true);
  return area;
}

/** Which byte of the area is looked at first, and whether parts that are not needed are, is the processor's affair. */
function otherOrder(native: Result, ours: Result, c: Case): boolean {
  const offset = Number(c.gprs[7]!) - DATA_LOW;
  const reachesGuard = offset < GUARD_PAGE * PAGE && offset + FP_SIZE > GUARD_PAGE * PAGE;
  return native.vector === PAGE_FAULT && reachesGuard && (ours.vector === PAGE_FAULT || c.code.at(-1) === 0x2f);
}

async function compare(cases: readonly Case[]): Promise<void> {
  const expected = await native!.run(cases);
  const found = engine.run(cases).flatMap((ours, i) => {
    const lines = differences(expected[i]!, ours, { mode: cases[i]!.mode, mxcsrMask: true, piecewise: true });
    return lines.length === 0 || otherOrder(expected[i]!, ours, cases[i]!) ? [] : [`${caseText(cases[i]!)}\n${lines.join('\n')}`];
  });
  expect(found.slice(0, 3).join('\n'), `${found.length} of ${cases.length} differ`).toBe('');
}

describe.each([64, 32] as const)('in %i-bit mode', (mode) => {
  test.each(Object.entries(SAVES))('%s writes what the host writes', async (_name, code) => {
    if (!native) return;
    const random = new Random(mode);
    await compare(Array.from({ length: CASES }, () => instruction(random, mode, wide(mode, random) + code, undefined, place(random))));
  });

  test('xrstor loads what the host loads', async () => {
    if (!native) return;
    const random = new Random(mode);
    await compare(
      Array.from({ length: 3 * CASES }, () => instruction(random, mode, wide(mode, random) + XRSTOR, savedImage(random), place(random))),
    );
  });
});

describe('initial state', () => {
  /** Restores `present` of all components, then saves all. */
  function savedAfter(present: number, code: string): DataView {
    const random = new Random(present);
    const area = randomFp(random, 'bytes');
    const header = new DataView(area.buffer);
    area.fill(0, FP.header, FP.header + 64);
    header.setBigUint64(FP.header, BigInt(present), true);
    header.setUint16(FP.mxcsr, 0x1f80, true);
    const image = new Uint8Array(randomImage(random).length).fill(0xee);
    image.set(area, 0);
    image.fill(0, 0x800 + FP.header, 0x800 + FP.header + 64);
    const c = makeCase({
      code: bytes(`${XRSTOR} 4881c700080000 ${code}`),
      rip: CODE,
      gprs: gprs({ rax: 7n, rdi: BigInt(DATA_LOW) }),
      fp: randomFp(random, 'bytes'),
      image,
    });
    const [result] = engine.run([c]);
    expect(result!.kind).toBe('end');
    const after = image.slice();
    for (const { offset, bytes: changed } of result!.changes) after.set(changed, offset);
    return new DataView(after.buffer, 0x800, FP_SIZE);
  }

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('components %i are the ones that saving finds in use', (present) => {
    for (const code of Object.values(SAVES)) {
      const saved = savedAfter(present, code);
      expect(saved.getBigUint64(FP.header, true)).toBe(BigInt(present));
      expect(saved.getBigUint64(XCOMP_BV, true)).toBe(code === SAVES.xsavec ? COMPACTED | 7n : 0n);
    }
  });

  test('xsave writes components in their initial state, the others leave their place alone', () => {
    expect(savedAfter(0, SAVES.xsave).getUint32(FP.xmm, true)).toBe(0);
    expect(savedAfter(0, SAVES.xsave).getUint32(FP.ymmHigh, true)).toBe(0);
    for (const code of [SAVES.xsaveopt, SAVES.xsavec]) {
      expect(savedAfter(0, code).getUint32(FP.xmm, true)).toBe(0xeeeeeeee);
      expect(savedAfter(0, code).getUint32(FP.ymmHigh, true)).toBe(0xeeeeeeee);
      expect(savedAfter(0, code).getUint16(FP.fcw, true)).toBe(0xeeee);
    }
  });
});
