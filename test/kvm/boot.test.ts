/** The command line's machine on KVM. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpuModel } from '../../src/machine/cpu-model.ts';
import { boot, buildDaybreak, type Ended } from '../boot/daybreak.ts';
import { Scratch } from '../boot/initramfs.ts';
import { checkValue, checkValueProgram } from '../browser/programs.ts';
import { openKvm } from './guest.ts';
import { ENDED, movingGuest } from './moving-guest.ts';

const scratch = new Scratch();
/** Few: without hardware virtualisation, a million instructions take a second. */
const ROUNDS = 20_000;
const TIMEOUT_MS = 600_000;

beforeAll(buildDaybreak, TIMEOUT_MS);
afterAll(() => scratch.remove());

test.for(['kvm', 'auto'])(
  '--accel %s runs a program without an operating system: its output, its end',
  { timeout: TIMEOUT_MS },
  async (accel, context) => {
    if (!(await openKvm())) return context.skip('no KVM here');
    const kernel = scratch.write('program', checkValueProgram(ROUNDS));
    const ended = await boot(['--kernel', kernel, '--memory', '16', '--debug-exit', '--accel', accel]);
    expect(ended.output).toContain(checkValue(ROUNDS));
    expect(ended.status).toBe((5 << 1) | 1);
  },
);

test('SIGTERM ends a machine on KVM that never halts', { timeout: TIMEOUT_MS }, async (context) => {
  if (!(await openKvm())) return context.skip('no KVM here');
  // After its output, jmp .
  const program = checkValueProgram(1);
  const end = program.findLastIndex((byte, at) => byte === 0xb0 && program[at + 1] === 0x05);
  program.set([0xeb, 0xfe], end);
  const kernel = scratch.write('endless', program);
  const ended = await boot(['--kernel', kernel, '--memory', '16', '--accel', 'kvm'], {
    seen: new RegExp(checkValue(1)),
    action: 'SIGTERM',
  });
  expect(ended.status).toBe(128 + 15);
});

test(
  'a machine goes on under the compiler, and under KVM again: what it prints and computes is the same',
  { timeout: TIMEOUT_MS },
  async (context) => {
    if (!(await openKvm())) return context.skip('no KVM here');
    const kernel = scratch.write('moving', movingGuest({ rounds: 240, avx: false, random: false }));
    const start = ['--kernel', kernel, '--memory', '16', '--debug-exit'];
    const path = (name: string): string => join(scratch.directory, name);
    const save = (name: string): string[] => ['--save', path(name), '--save-when', '.....'];
    const go = (from: string, ...options: string[]): Promise<Ended> => boot(['--restore', path(from), '--debug-exit', ...options]);
    const legs = [
      await boot([...start, '--accel', 'kvm', ...save('one')]),
      await go('one', '--accel', 'jit', ...save('two')),
      await go('two', '--accel', 'kvm', ...save('three')),
      await go('three', '--accel', 'interpreter'),
    ];
    expect(legs.map(({ status }) => status)).toEqual([0, 0, 0, (ENDED << 1) | 1]);
    expect(legs.map(({ output }) => output).join('')).toBe((await boot(start)).output);
  },
);

test(
  'a state with more than this computer’s KVM offers is refused with the features’ names, and --accel auto goes on without KVM',
  {
    timeout: TIMEOUT_MS,
  },
  async (context) => {
    const kvm = await openKvm();
    if (!kvm) return context.skip('no KVM here');
    const kernel = scratch.write('moving', movingGuest({ rounds: 8000, avx: false, random: false }));
    const state = join(scratch.directory, 'max.state');
    await boot(['--kernel', kernel, '--memory', '16', '--debug-exit', '--save', state, '--save-when', '.....']);
    const offered = new Set(kvm.accelerator.cpu.features);
    const missing = [...cpuModel('max').features].find((feature) => feature === 'bhi_ctrl' && !offered.has(feature));
    if (missing === undefined) return context.skip('this KVM offers all that there is');
    const refused = await boot(['--restore', state, '--debug-exit', '--accel', 'kvm']);
    expect(refused.status).toBe(1);
    expect(refused.errors).toMatch(new RegExp(`CPU model max here needs .*${missing}.*, which this computer’s KVM does not offer`));
    expect((await boot(['--restore', state, '--debug-exit', '--accel', 'auto'])).status).toBe((ENDED << 1) | 1);
  },
);
