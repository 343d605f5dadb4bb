/**
 * Acceptance on a host with hardware virtualisation: `npm run test:kvm`. Debian's kernels boot on KVM to userland, which
 * computes something, and power off; several processors start, and are saved; a running system moves to the compiler and back; and all that is
 * faster than without KVM. Elsewhere each test says why it is skipped.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { diagnoseKvm } from '../../src/node/kvm/diagnose.ts';
import { boot, buildDaybreak } from '../boot/daybreak.ts';
import { openSuite } from '../boot/debian.ts';
import { initramfs, Scratch } from '../boot/initramfs.ts';
import { bootsToUserland, COMPLAINTS, fetched } from '../boot/linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TIMEOUT_MS = 600_000;

/** Skips the test where guests on KVM lack something. */
async function needsKvm(context: TestContext): Promise<void> {
  const { works, problem } = await diagnoseKvm();
  if (works) return;
  console.warn(`skipped: ${problem}`);
  context.skip(problem);
}

/** Options for a kernel of Debian's with this script as its first program. */
async function debian(context: TestContext, name: string, script: string): Promise<string[]> {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('bookworm');
    const { vmlinuz } = await suite.kernel('linux-image-cloud-amd64');
    return { kernel: vmlinuz.path, busybox: (await suite.busybox()).data };
  });
  const initrd = scratch.write(`${name}.cpio`, await initramfs(busybox, script));
  return ['--kernel', kernel, '--initrd', initrd, '--append', 'console=ttyS0 panic=-1', '--no-reboot', '--memory', '256'];
}

test.for([
  ['bookworm', 'amd64', 'linux-image-cloud-amd64'],
  ['bookworm', 'i386', 'linux-image-686-pae'],
  ['trixie', 'amd64', 'linux-image-amd64'],
  ['sid', 'amd64', 'linux-image-cloud-amd64'],
  ['sid', 'amd64', 'linux-image-amd64'],
] as const)(
  '%s, %s: %s boots on KVM to userland and powers off',
  { timeout: TIMEOUT_MS },
  async ([suite, architecture, metaPackage], context) => {
    await needsKvm(context);
    const { status } = await bootsToUserland(context, scratch, { suite, architecture, metaPackage }, ['--accel', 'kvm']);
    expect(status).toBe(0);
  },
);

test('four processors start, and share the work', { timeout: TIMEOUT_MS }, async (context) => {
  await needsKvm(context);
  const script =
    'echo "PROCESSORS $(grep -c ^processor /proc/cpuinfo)"\nfor n in 1 2 3 4; do sha256sum /bin/busybox & done\nwait\npoweroff -f\n';
  const { output, status } = await boot([...(await debian(context, 'smp', script)), '--accel', 'kvm', '--cpus', '4']);
  expect(output).toContain('PROCESSORS 4');
  expect(output.match(/[0-9a-f]{64} /g)?.length).toBe(4);
  expect(output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(status).toBe(0);
});

test('a running Linux moves from KVM to the compiler, and back', { timeout: TIMEOUT_MS }, async (context) => {
  await needsKvm(context);
  const script = [
    'dd if=/dev/urandom of=/noise bs=64k count=64 2> /dev/null',
    'BEFORE=$(sha256sum < /noise)',
    'for turn in ONE TWO; do echo "MAY BE SAVED: $turn"; read line; echo "GOT $line $(cut -d. -f1 /proc/uptime)"; done',
    '[ "$(sha256sum < /noise)" = "$BEFORE" ] && echo "MEMORY IS RIGHT"',
    'poweroff -f\n',
  ].join('\n');
  const [one, two] = ['one.state', 'two.state'].map((name) => join(scratch.directory, name)) as [string, string];
  const input = (text: string): Uint8Array => new TextEncoder().encode(`${text}\n`);
  const start = await debian(context, 'moving', script);
  const first = await boot([...start, '--accel', 'kvm', '--save', one, '--save-when', 'MAY BE SAVED: ONE']);
  expect(first.status).toBe(0);
  const saving = ['--save', two, '--save-when', 'MAY BE SAVED: TWO'];
  const second = await boot(['--restore', one, '--accel', 'jit', ...saving], undefined, input('first'));
  expect(second.output).toMatch(/GOT first \d+/);
  expect(second.status).toBe(0);
  const third = await boot(['--restore', two, '--accel', 'kvm'], undefined, input('second'));
  expect(third.output).toMatch(/GOT second \d+/);
  expect(third.output).toContain('MEMORY IS RIGHT');
  const all = first.output + second.output + third.output;
  expect(all.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(third.status).toBe(0);
});

test('a running Linux with four processors is saved, and goes on with all of them', { timeout: TIMEOUT_MS }, async (context) => {
  await needsKvm(context);
  const state = join(scratch.directory, 'four.state');
  const script = [
    'for n in 1 2 3 4; do { sha256sum /bin/busybox; while :; do :; done; } & done',
    'echo "MAY BE SAVED"; read line; echo "GOT $line"',
    'for n in 1 2 3 4; do { sha256sum /bin/busybox; echo "DONE $n"; } & eval "job$n=$!"; done',
    'wait $job1 $job2 $job3 $job4; echo "PROCESSORS $(grep -c ^processor /proc/cpuinfo)"',
    'poweroff -f\n',
  ].join('\n');
  const start = await debian(context, 'four', script);
  const first = await boot([...start, '--accel', 'kvm', '--cpus', '4', '--save', state, '--save-when', 'MAY BE SAVED']);
  expect(first.status).toBe(0);
  const second = await boot(['--restore', state, '--accel', 'kvm'], undefined, new TextEncoder().encode('it\n'));
  expect(second.output).toContain('GOT it');
  expect(second.output).toContain('PROCESSORS 4');
  expect(second.output.match(/DONE \d/g)?.length).toBe(4);
  expect((first.output + second.output).split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(second.status).toBe(0);
});

test('a boot takes less time on KVM than without', { timeout: TIMEOUT_MS }, async (context) => {
  await needsKvm(context);
  const options = await debian(context, 'speed', 'sha256sum /bin/busybox\npoweroff -f\n');
  const seconds = async (accelerator: string): Promise<number> => {
    const before = performance.now();
    expect((await boot([...options, '--accel', accelerator])).status).toBe(0);
    return (performance.now() - before) / 1000;
  };
  const [compiled, native] = [await seconds('jit'), await seconds('kvm')];
  console.log(`boot to the end of a program: ${native.toFixed(2)} s on KVM, ${compiled.toFixed(2)} s on the compiler`);
  expect(native).toBeLessThan(compiled);
});
