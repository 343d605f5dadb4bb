import { describe, expect, test } from 'vitest';
import { checkOffer, cpuid, cpuModel, FEATURES, identityOf, LEAVES, MITIGATIONS, modelOf, TSC_KHZ } from './cpu-model.ts';

const CONTEXT = { osxsave: false, xcr0: 1, apicId: 0 };
const max = cpuModel('max');

test('the list of leaves names every leaf that tells something', () => {
  const listed = new Set(LEAVES.map(([leaf, subleaf]) => `${leaf}.${subleaf}`));
  for (const base of [0, 0x4000_0000, 0x8000_0000]) {
    for (let leaf = base; leaf < base + 0x20; leaf++) {
      for (let subleaf = 0; subleaf < 4; subleaf++) {
        const answer = cpuid(max, leaf, subleaf, CONTEXT);
        // Where a leaf has no subleaves, any number gives the same answer.
        const same = subleaf > 0 && String(answer) === String(cpuid(max, leaf, 0, CONTEXT));
        const beyond = leaf === 0xb && subleaf > 1;
        if (answer.some((value) => value !== 0) && !same && !beyond) expect(listed).toContain(`${leaf}.${subleaf}`);
      }
    }
  }
});

test('every feature of a model, and every mitigation, has its bit', () => {
  for (const name of ['x86-64', 'x86-64-v2', 'x86-64-v3', 'portable', 'max']) {
    expect([...cpuModel(name).features].filter((feature) => !FEATURES.has(feature))).toEqual([]);
  }
  expect(MITIGATIONS.filter((feature) => !FEATURES.has(feature) || max.features.has(feature))).toEqual([]);
});

test('the portable model is between x86-64-v3’s instructions and the whole', () => {
  const { features } = cpuModel('portable');
  for (const feature of ['avx2', 'bmi2', 'fma', 'aes', 'xsaves']) expect(features).toContain(feature);
  for (const feature of ['pcid', 'bhi_ctrl', 'vaes']) expect(features).not.toContain(feature);
  expect([...features].filter((feature) => !max.features.has(feature))).toEqual(['spec_ctrl']);
});

describe('a TSC’s frequency', () => {
  const khz = (tscKhz: number): number => {
    const [denominator, numerator, crystal] = cpuid({ ...max, tscKhz }, 0x15, 0, CONTEXT);
    return (crystal * numerator) / denominator / 1000;
  };

  test('is what CPUID tells, whatever it is', () => {
    expect([khz(TSC_KHZ), khz(2_445_434)]).toEqual([TSC_KHZ, 2_445_434]);
    expect(cpuid({ ...max, tscKhz: 2_445_434 }, 0x4000_0010, 0, CONTEXT)[0]).toBe(2_445_434);
  });

  test('is wanted like a feature', () => {
    const wanted = { ...identityOf(max), tscKhz: 2_000_000 };
    expect(() => checkOffer(wanted, identityOf(max), 'this one')).toThrow(
      /max here needs a TSC of 2000000 kHz \(it has 1000000\), which this one/,
    );
  });
});

test('a processor that a machine has seen is asked for whole, and what is missing is named', () => {
  const seen = identityOf(cpuModel('portable'));
  expect(identityOf(modelOf(seen))).toEqual(seen);
  checkOffer(seen, { ...identityOf(max), features: [...max.features, ...MITIGATIONS] }, 'this one');
  expect(() => checkOffer({ ...seen, features: [...seen.features, 'amx', 'telepathy'] }, identityOf(max), 'this one')).toThrow(
    /needs spec_ctrl, amx, telepathy, which/,
  );
});
