import { expect, test } from 'vitest';
import { changesBetween, FP, initialFp, makeCase, type Patch, type Result } from '../native/case.ts';
import { CODE_LOW } from '../native/layout.ts';
import { bytes, fp, gprs } from '../native/literal.ts';
import { caseText, differences, isJudgement } from './compare.ts';
import { shrink } from './shrink.ts';

const CF = 1;
const AF = 0x10;

function result(given: Partial<Result>): Result {
  return {
    kind: 'end',
    vector: 0,
    errorCode: 0,
    cr2: 0n,
    rip: 0n,
    rflags: 2,
    gprs: new BigUint64Array(16),
    selectors: Uint16Array.of(0x33, 0x2b, 0, 0, 0, 0),
    fsBase: 0n,
    gsBase: 0n,
    fp: initialFp(),
    changes: [],
    signal: 0,
    siCode: 0,
    ...given,
  };
}

test('equal results have no differences', () => {
  expect(differences(result({ signal: 11 }), result({}))).toEqual([]);
});

test('a flag counts unless it is undefined', () => {
  expect(differences(result({ rflags: 2 | AF }), result({}))).toEqual(['rflags: native 10, engine 0']);
  expect(differences(result({ rflags: 2 | AF }), result({}), { undefinedFlags: AF })).toEqual([]);
  expect(differences(result({ rflags: 2 | AF | CF }), result({}), { undefinedFlags: AF })).toHaveLength(1);
});

test('registers, x87 data, vectors and memory count', () => {
  expect(differences(result({ gprs: gprs({ r9: 5n }) }), result({}))).toHaveLength(1);
  expect(differences(result({ fp: fp({ [FP.st + 16]: '01' }) }), result({}))).toHaveLength(1);
  expect(differences(result({ fp: fp({ [FP.ymmHigh + 240]: '01' }) }), result({}))).toHaveLength(1);
  expect(differences(result({ changes: [{ offset: 4, bytes: bytes('01') }] }), result({}))).toHaveLength(1);
});

test('what the last instruction pointer of the FPU was does not count', () => {
  expect(differences(result({ fp: fp({ 8: 'ffff' }) }), result({}))).toEqual([]);
});

test('outside 64-bit mode the upper halves of registers do not count', () => {
  const high = gprs({ rax: 1n << 40n, r8: 1n });
  expect(differences(result({ gprs: high }), result({}), { mode: 32 })).toEqual([]);
  expect(differences(result({ gprs: high }), result({}), { mode: 64 })).toHaveLength(2);
});

test('a fault differs by vector, error code, place and address', () => {
  const fault = result({ kind: 'fault', vector: 14, errorCode: 4, cr2: 0x2000n, rip: 0x1000n });
  expect(differences(fault, result({}))).not.toEqual([]);
  for (const change of [{ vector: 13 }, { errorCode: 6 }, { cr2: 0x2001n }, { rip: 0x1001n }]) {
    expect(differences(fault, { ...fault, ...change }), JSON.stringify(Object.keys(change))).not.toEqual([]);
  }
  expect(differences(fault, { ...fault })).toEqual([]);
});

test('the present bit of a kernel address does not count, because Linux always sets it', () => {
  const fault = result({ kind: 'fault', vector: 14, errorCode: 5, cr2: 0xffff_8000_0000_0000n });
  expect(differences(fault, { ...fault, errorCode: 4 })).toEqual([]);
  expect(differences(fault, { ...fault, errorCode: 6 })).toHaveLength(1);
});

test('a refused system call or a state that cannot be loaded judges nothing', () => {
  expect(isJudgement(result({ kind: 'fault', vector: 0xff }))).toBe(false);
  expect(isJudgement(result({ kind: 'entry-fault' }))).toBe(false);
  expect(isJudgement(result({ kind: 'fault', vector: 6 }))).toBe(true);
});

test('changes are runs of 16-byte granules, trimmed at both ends', () => {
  const before = new Uint8Array(128);
  const after = before.slice();
  after.set([1, 0, 2], 30);
  after[100] = 3;
  const changes: Patch[] = [];
  changesBetween(before, after, 0, 128, 0x1000, changes);
  expect(changes).toEqual([
    { offset: 0x101e, bytes: bytes('010002') },
    { offset: 0x1064, bytes: bytes('03') },
  ]);
});

test('shrinking keeps what makes a case fail and drops the rest', async () => {
  const failing = makeCase({
    code: bytes('90'),
    rip: CODE_LOW,
    gprs: gprs({ rax: 7n, rbx: 0x1234_5678_9abc_def0n }),
    rflags: 2 | CF | AF,
    fp: fp({ [FP.xmm]: '11', [FP.xmm + 16]: '22' }),
    patches: [{ offset: 0, bytes: bytes('aa') }],
  });
  const small = await shrink(failing, async (c) => (c.gprs[3]! & 0xf0n) !== 0n && (c.rflags & CF) !== 0 && c.fp[FP.xmm + 16] === 0x22);
  expect(caseText(small)).toBe(
    `makeCase({ code: bytes('90'), rip: 0x10000000, gprs: gprs({ rbx: 0xf0n }), rflags: 0x3, fp: fp({ 0xb0: '${'22'.padEnd(32, '0')}' }) })`,
  );
});
