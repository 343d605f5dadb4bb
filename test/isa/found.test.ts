/** Cases in which the accelerators once differed, by what was wrong. */
import { beforeAll, expect, test } from 'vitest';
import { ACCELERATORS } from '../accelerators.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { makeCase } from '../native/case.ts';
import { bytes } from '../native/literal.ts';
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
