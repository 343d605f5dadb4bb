/** The command line's machine on KVM. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boot, buildDaybreak } from '../boot/daybreak.ts';
import { Scratch } from '../boot/initramfs.ts';
import { checkValue, checkValueProgram } from '../browser/programs.ts';
import { openKvm } from './guest.ts';

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
