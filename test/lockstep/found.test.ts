/** What the lockstep and reading have found, cut down: each once went wrong in compiled code. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, le } from '../engine/bench.ts';
import { compileRuntime } from '../engine/runtime.ts';

const HLT = 0xf4;

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
  });

  test('branches to the next instruction, one after the other, are compiled in no time', () => {
    // mov ecx,100; L: 50 times jz +0; inc eax; dec ecx; jnz L; hlt
    const body = [...Array.from({ length: 50 }, () => [0x74, 0x00]).flat(), 0xff, 0xc0, 0xff, 0xc9];
    bench.load([0xb9, ...le(100, 4), ...body, 0x0f, 0x85, ...le(-(body.length + 6) >>> 0, 4), HLT]);
    bench.untilHalt();
    expect(bench.reg(0)).toBe(100n);
  });
});
