import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FP, initialFp, makeCase, VECTOR_SYSTEM_CALL, type Case, type Result } from './case.ts';
import { CODE_IN_CHANGES, CODE_LOW, CODE_SIZE, DATA_LOW, GUARD_PAGE, HIGH, PAGE, READ_ONLY_PAGE } from './layout.ts';
import { NativeUnavailable } from './build.ts';
import { bytes as hex, gprs } from './literal.ts';
import { NativeCpu } from './native.ts';

let cpu: NativeCpu | undefined;
beforeAll(async () => {
  cpu = await NativeCpu.create().catch((error: unknown) => {
    if (!(error instanceof NativeUnavailable)) throw error;
    console.warn(`skipped: ${error.message}`);
    return undefined;
  });
});
afterAll(() => cpu?.dispose());

type Given = Partial<Case> & { code: Uint8Array; regs?: Parameters<typeof gprs>[0] };

function prepare({ regs = {}, ...given }: Given): Case {
  return makeCase({ rip: CODE_LOW + 0x100, gprs: gprs(regs), ...given });
}

/** Runs one case; the test ends as skipped where there is no native processor. */
async function run(skip: () => void, given: Given): Promise<Result> {
  if (!cpu) skip();
  return (await cpu!.run([prepare(given)]))[0]!;
}

const fault = (result: Result): object => ({
  vector: result.vector,
  errorCode: result.errorCode,
  rip: result.rip - BigInt(CODE_LOW + 0x100),
});
const noncanonical = 0x8000_0000_0000_0000n;

describe('a case that ends', () => {
  test('reports registers and arithmetic flags', async ({ skip }) => {
    const result = await run(skip, { code: hex('48 01 c8'), regs: { rax: 0x7fff_ffff_ffff_ffffn, rcx: 1n } }); // add rax, rcx
    expect(result.kind).toBe('end');
    expect(result.gprs[0]).toBe(0x8000_0000_0000_0000n);
    expect(result.rflags & 0x8d5).toBe(0x894); // OF, SF, AF, PF
    expect(result.rip).toBe(BigInt(CODE_LOW + 0x108)); // behind the jump to the end
  });

  test('starts with every register and flag as given', async ({ skip }) => {
    const all = BigUint64Array.from({ length: 16 }, (_, i) => (0x0123_4567_89ab_cdefn * BigInt(i + 1)) & 0xffff_ffff_ffff_ffffn);
    const given = { code: hex('90'), gprs: all, rflags: 0x244cd7, fsBase: 0x1234_5678_9abcn, gsBase: 0xffff_8000_0000_0000n };
    if (!cpu) skip();
    const [result] = await cpu!.run([makeCase({ rip: CODE_LOW, ...given })]);
    expect(result!.gprs).toEqual(all);
    expect(result!.rflags).toBe(0x244ed7); // IF is Linux's
    expect(result!.fsBase).toBe(given.fsBase);
    expect(result!.gsBase).toBe(given.gsBase);
  });

  test('reports bytes written to memory, and the next case does not see them', async ({ skip }) => {
    const store = { code: hex('48 89 03'), regs: { rax: 0x1122_3344_5566_7788n, rbx: BigInt(DATA_LOW + 0xffc) } }; // mov [rbx], rax
    const load = { code: hex('48 8b 03'), regs: { rbx: BigInt(DATA_LOW + 0xffc) } };
    const patches = [{ offset: 0xffe, bytes: Uint8Array.of(0xaa) }];
    if (!cpu) skip();
    const [first, second, third] = await cpu!.run([prepare({ ...store }), prepare({ ...load, patches }), prepare(load)]);
    expect(first!.changes).toEqual([{ offset: 0xffc, bytes: hex('88 77 66 55 44 33 22 11') }]);
    expect(second!.gprs[0]).toBe(0xaa_0000n);
    expect(second!.changes).toEqual([]);
    expect(third!.gprs[0]).toBe(0n);
  });

  test('carries x87, SSE and AVX state in and out', async ({ skip }) => {
    const fp = initialFp();
    fp.fill(0x11, FP.xmm, FP.xmm + 16);
    fp.fill(0x22, FP.ymmHigh, FP.ymmHigh + 16);
    const result = await run(skip, { code: hex('c5 fd fe c8 d9 e8'), fp }); // vpaddd ymm1, ymm0, ymm0; fld1
    expect(result.fp[FP.xmm + 16]).toBe(0x22);
    expect(result.fp[FP.ymmHigh + 16]).toBe(0x44);
    expect([...result.fp.subarray(FP.st, FP.st + 10)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    expect(result.fp[FP.ftw]).toBe(0x80);
  });

  test('reaches data through both mappings and through FS', async ({ skip }) => {
    const patches = [{ offset: 0x10, bytes: Uint8Array.of(0x5a) }];
    const high = await run(skip, { code: hex('8a 03'), regs: { rbx: BigInt(HIGH + DATA_LOW + 0x10) }, rip: HIGH + CODE_LOW, patches });
    const fs = await run(skip, { code: hex('64 8a 03'), fsBase: BigInt(DATA_LOW), regs: { rbx: 0x10n }, patches });
    expect([high.kind, high.gprs[0], fs.kind, fs.gprs[0]]).toEqual(['end', 0x5an, 'end', 0x5an]);
  });

  test('reports code that rewrites itself in the high mapping', async ({ skip }) => {
    // mov byte [rip + 0], 0x41: NOP becomes a REX prefix of the jump behind it
    const result = await run(skip, { code: hex('c6 05 00 00 00 00 41 90'), rip: HIGH + CODE_LOW + 0x10 });
    expect(result.kind).toBe('end');
    expect(result.changes).toEqual([{ offset: CODE_IN_CHANGES + 0x17, bytes: Uint8Array.of(0x41) }]);
  });

  test('runs 32-bit code', async ({ skip }) => {
    const result = await run(skip, { mode: 32, code: hex('40 8d 44 19 01'), regs: { rax: 1n, rcx: 0xffff_fff0n, rbx: 0x20n } });
    expect(result.kind).toBe('end'); // inc eax; lea eax, [ecx + ebx + 1]
    expect(result.gprs[0]).toBe(0x11n);
  });

  test('runs 16-bit code with a limit on its segments', async ({ skip }) => {
    if (!cpu?.features.code16) skip();
    const given: Given = { mode: 16, rip: 0x100, code: hex('40 8a 07'), regs: { rax: 0xffffn, rbx: 0x10n } }; // inc ax; mov al, [bx]
    const patches = [{ offset: 0x10, bytes: Uint8Array.of(0x77) }];
    const inside = await run(skip, { ...given, patches });
    expect([inside.kind, inside.gprs[0]]).toEqual(['end', 0x77n]);
    const outside = await run(skip, { ...given, regs: { rbx: 0x5000n } });
    expect([outside.vector, outside.errorCode, outside.rip]).toEqual([13, 0, 0x101n]);
  });
});

describe('a fault is reported with vector, error code and place', () => {
  test('of a division by zero', async ({ skip }) => {
    expect(fault(await run(skip, { code: hex('90 f7 f1') }))).toEqual({ vector: 0, errorCode: 0, rip: 1n });
  });

  test('of a read and a write of an unmapped page, with the address', async ({ skip }) => {
    const rbx = BigInt(DATA_LOW + GUARD_PAGE * PAGE + 8);
    const read = await run(skip, { code: hex('8b 03'), regs: { rbx } });
    expect([fault(read), read.cr2]).toEqual([{ vector: 14, errorCode: 4, rip: 0n }, rbx]);
    const write = await run(skip, { code: hex('89 03'), regs: { rbx } });
    expect([fault(write), write.cr2]).toEqual([{ vector: 14, errorCode: 6, rip: 0n }, rbx]);
  });

  test('of a write to a read-only page', async ({ skip }) => {
    const rbx = BigInt(DATA_LOW + READ_ONLY_PAGE * PAGE - 2);
    const result = await run(skip, { code: hex('89 03'), regs: { rbx } });
    expect([fault(result), result.cr2]).toEqual([{ vector: 14, errorCode: 7, rip: 0n }, rbx + 2n]);
    expect(result.changes).toEqual([]);
  });

  test('of fetching data and of running off the code pages', async ({ skip }) => {
    const data = await run(skip, { code: hex('ff e3'), regs: { rbx: BigInt(DATA_LOW) } });
    expect([data.vector, data.errorCode, data.cr2]).toEqual([14, 0x15, BigInt(DATA_LOW)]);
    const off = await run(skip, { code: hex('b8 01 02'), rip: CODE_LOW + CODE_SIZE - 3 });
    expect([off.vector, off.errorCode, off.cr2, off.rip]).toEqual([
      14,
      0x14,
      BigInt(CODE_LOW + CODE_SIZE),
      BigInt(CODE_LOW + CODE_SIZE - 3),
    ]);
  });

  test('of a non-canonical address, by stack and by other segments', async ({ skip }) => {
    expect(fault(await run(skip, { code: hex('8b 03'), regs: { rbx: noncanonical } }))).toEqual({ vector: 13, errorCode: 0, rip: 0n });
    expect(fault(await run(skip, { code: hex('58'), regs: { rsp: noncanonical } }))).toEqual({ vector: 12, errorCode: 0, rip: 0n });
  });

  test('of UD2, INT3 and a privileged instruction', async ({ skip }) => {
    expect(fault(await run(skip, { code: hex('0f 0b') }))).toEqual({ vector: 6, errorCode: 0, rip: 0n });
    expect(fault(await run(skip, { code: hex('cc') }))).toEqual({ vector: 3, errorCode: 0, rip: 1n });
    expect(fault(await run(skip, { code: hex('f4') }))).toEqual({ vector: 13, errorCode: 0, rip: 0n });
    expect(fault(await run(skip, { code: hex('cd 21') }))).toEqual({ vector: 13, errorCode: 0x21 * 8 + 2, rip: 0n });
  });

  test('of single stepping, after one instruction', async ({ skip }) => {
    const result = await run(skip, { code: hex('b0 05 b0 06'), rflags: 0x102 });
    expect([fault(result), result.gprs[0]]).toEqual([{ vector: 1, errorCode: 0, rip: 2n }, 5n]);
  });

  test('of an unaligned MOVAPS and of an unaligned load under AC', async ({ skip }) => {
    const regs = { rbx: BigInt(DATA_LOW + 4) };
    expect(fault(await run(skip, { code: hex('0f 28 03'), regs }))).toEqual({ vector: 13, errorCode: 0, rip: 0n });
    expect(fault(await run(skip, { code: hex('48 8b 03'), regs, rflags: 0x40002 }))).toEqual({ vector: 17, errorCode: 0, rip: 0n });
  });

  test('of an unmasked SSE exception, with its flag', async ({ skip }) => {
    const fp = initialFp();
    fp.set([0x00, 0x1d], FP.mxcsr); // divide-by-zero unmasked
    fp.set([0, 0, 0x80, 0x3f], FP.xmm);
    const result = await run(skip, { code: hex('f3 0f 5e c1'), fp }); // divss xmm0, xmm1
    expect(fault(result)).toEqual({ vector: 19, errorCode: 0, rip: 0n });
    expect(result.fp[FP.mxcsr]).toBe(0x04);
  });

  test('of a masked x87 stack fault, as flags, and of an unmasked one, at the next instruction', async ({ skip }) => {
    const masked = await run(skip, { code: hex('d8 c1') }); // fadd st, st1 of an empty stack
    expect([masked.kind, masked.fp[FP.fsw]]).toEqual(['end', 0x41]);
    const fp = initialFp();
    fp[FP.fcw] = 0x7e;
    const unmasked = await run(skip, { code: hex('d8 c1 9b'), fp });
    expect(fault(unmasked)).toEqual({ vector: 16, errorCode: 0, rip: 2n });
    expect(unmasked.fp[FP.fsw]).toBe(0xc1);
  });
});

describe('the host is safe', () => {
  test('from an endless loop, which times out', async ({ skip }) => {
    const result = await run(skip, { code: hex('48 ff c0 eb fb') });
    expect(result.kind).toBe('timeout');
    expect(result.gprs[0]).toBeGreaterThan(1000n);
  });

  test('from system calls, which are refused', async ({ skip }) => {
    for (const code of ['0f 05', 'cd 80']) {
      const result = await run(skip, { code: hex(code), regs: { rax: 39n } });
      expect([result.kind, result.vector]).toEqual(['fault', VECTOR_SYSTEM_CALL]);
    }
  });

  test('and the next case from what the last one left behind', async ({ skip }) => {
    const wild: Given[] = ['fd 9b', '0f ae f8', 'd9 ee d9 e0', 'f4', '8e d8', '0f 0b', 'cc', '66 90'].map((code) => ({
      code: hex(code),
      rflags: 0x44cd7,
      regs: { rax: 0n, rsp: noncanonical },
    }));
    if (!cpu) skip();
    const results = await cpu!.run(wild.flatMap((given) => [prepare(given), prepare({ code: hex('90') })]));
    for (let i = 1; i < results.length; i += 2) {
      expect({ ...results[i], rip: 0n }).toEqual({ ...results[1], rip: 0n });
      expect(results[i]!.kind).toBe('end');
    }
  });
});
