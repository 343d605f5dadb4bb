/** Cases in which the accelerators once differed, by what was wrong. */
import { beforeAll, expect, test } from 'vitest';
import { ACCELERATORS } from '../accelerators.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { makeCase } from '../native/case.ts';
import { bytes, fp, gprs } from '../native/literal.ts';
import { EngineCpu } from './engine.ts';

let engines: EngineCpu[];
beforeAll(async () => {
  const runtime = await compileRuntime();
  engines = ACCELERATORS.map(({ make }) => new EngineCpu(make(runtime)));
}, 300_000);

test.each([
  // vptest xmm1,xmm13; vpmaskmovq xmm11,xmm8,[r13+rdx*4-8]
  ['flags live on over a masked load that reads nothing', 'c4c27917cd2ec442b98c5c95f8'],
])('%s', (_, code) => {
  const [interpreted, compiled] = engines.map((engine) => engine.run([makeCase({ code: bytes(code), rip: 0x5a5a5000105c })])[0]!);
  expect(interpreted!.kind).toBe('end');
  expect(compiled).toEqual(interpreted);
});

test('an element of a masked move behind the segment’s end faults, and does not wrap', () => {
  const given = makeCase({
    mode: 16,
    code: bytes('c4e24d8e4c7d'), // vpmaskmovd [si+0x7d],ymm6,ymm1
    rip: 0x43e,
    gprs: gprs({ rsi: 0xff82n }),
    fp: fp({ 0x2a0: '00800000010101019aa114f800808000' }),
  });
  for (const engine of engines) expect(engine.run([given])[0]).toMatchObject({ kind: 'fault', vector: 13, errorCode: 0 });
});

test('an element of a masked move at a 32-bit address does not wrap at 4 GiB', () => {
  const given = makeCase({
    code: bytes('67c462652fa194978845'), // vmaskmovpd [ecx+0x45889794],ymm3,ymm12
    rip: 0x5a5a5000153a,
    gprs: gprs({ rcx: 0xba77686bn }),
    fp: fp({ 0x270: '0000000080000080e4ca99327f790de7' }),
  });
  for (const engine of engines) expect(engine.run([given])[0]).toMatchObject({ kind: 'fault', vector: 14, cr2: 0x1_0000_000fn });
});
