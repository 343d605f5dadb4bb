/** Machines that run, as a person sees and stops them from another terminal: real processes, and a real kernel's power button. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { initramfs, Scratch } from './initramfs.ts';
import { fetched } from './linux.ts';

const scratch = new Scratch();
const runtime = mkdtempSync(join(tmpdir(), 'db-'));
const children = new Set<ChildProcess>();

beforeAll(buildDaybreak, 300_000);
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  scratch.remove();
  rmSync(runtime, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcess;
  output(): string;
  readonly ended: Promise<{ status: number | null; output: string; errors: string }>;
}

function start(...args: string[]): Running {
  const child = spawn(process.execPath, [resolve('dist/daybreak.js'), ...args], {
    env: { ...process.env, XDG_RUNTIME_DIR: runtime, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let [output, errors] = ['', ''];
  child.stdout!.on('data', (data: Buffer) => (output += data.toString('latin1')));
  child.stderr!.on('data', (data: Buffer) => (errors += data.toString()));
  const ended = once(child, 'close').then(([status]) => {
    children.delete(child);
    return { status: status as number | null, output, errors };
  });
  return { child, output: () => output, ended };
}

const daybreak = (...args: string[]) => start(...args).ended;
const names = async () =>
  (await daybreak('ps', '--json')).output
    .split('\n')
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as { name: string; state: string }).name);

test('processes see each other’s machines, and a killed one leaves nothing', { timeout: 120_000 }, async () => {
  const kernel = scratch.write('halts', makeMultiboot(undefined, Uint8Array.of(0xf4, 0xeb, 0xfd)));
  const boot = () => start('boot', '--kernel', kernel, '--memory', '16');
  const machines = [boot(), boot(), boot()];
  await expect.poll(names, { timeout: 60_000, interval: 500 }).toHaveLength(3);
  machines[0]!.child.kill('SIGKILL');
  await machines[0]!.ended;
  const left = (await names()).toSorted();
  expect(left).toHaveLength(2);
  expect((await daybreak('stop', left[0]!, '--timeout', '1')).errors).toContain('does not listen to the power button');
  expect((await daybreak('stop', '--all', '--now')).status).toBe(0);
  for (const { ended } of machines.slice(1)) expect((await ended).status).toBe(0);
  expect(readdirSync(join(runtime, 'daybreak'))).toEqual([]);
});

test('a process that stands still is shown as such; stop says what helps, and works when it goes on', { timeout: 120_000 }, async () => {
  const kernel = scratch.write('stands', makeMultiboot(undefined, Uint8Array.of(0xf4, 0xeb, 0xfd)));
  const machine = start('boot', '--kernel', kernel, '--memory', '16', '--name', 'still');
  await expect.poll(names, { timeout: 60_000, interval: 500 }).toEqual(['still']);
  machine.child.kill('SIGSTOP');
  expect((await daybreak('ps')).output).toMatch(/^still +stands +does not answer /m);
  const { status, errors } = await daybreak('stop', 'still', '--now');
  expect([status, errors]).toEqual([1, expect.stringContaining(`kill -CONT ${machine.child.pid} wakes it`)]);
  const stopping = daybreak('stop', 'still', '--now');
  setTimeout(() => machine.child.kill('SIGCONT'), 3000);
  expect(await stopping).toMatchObject({ status: 0, errors: expect.stringContaining('still is ended') });
  expect((await machine.ended).status).toBe(0);
});

const MODULES = ['button', 'evdev'];
const SCRIPT = `${MODULES.map((name) => `insmod /lib/${name}.ko\n`).join('')}
for event in /sys/class/input/event*; do
  grep -q 'Power Button' $event/device/name && device=/dev/input/\${event##*/}
done
echo "WAITING $device"
dd if=$device of=/dev/null bs=24 count=1 && echo PRESSED
poweroff -f
`;

test('stop presses the power button of a Linux, which powers off', { timeout: 600_000 }, async (context) => {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('bookworm');
    const kernel = await suite.kernel('linux-image-cloud-amd64', ...MODULES.map((name) => new RegExp(`/${name}\\.ko$`)));
    return { kernel, busybox: (await suite.busybox()).data };
  });
  const modules = Object.fromEntries(kernel.others.map(({ data }, i) => [`lib/${MODULES[i]}.ko`, data]));
  const initrd = scratch.write('button.cpio', await initramfs(busybox, SCRIPT, modules));
  const machine = start(
    ...[
      'boot',
      '--kernel',
      kernel.vmlinuz.path,
      '--initrd',
      initrd,
      '--append',
      'console=ttyS0 panic=-1 quiet',
      '--name',
      'linux',
      '--no-reboot',
    ],
  );
  await expect.poll(() => machine.output(), { timeout: 300_000, interval: 200 }).toContain('WAITING /dev/input/event');
  const stopped = await daybreak('stop', 'linux');
  expect(stopped).toMatchObject({ status: 0, errors: 'linux has powered off\n' });
  const { status, output, errors } = await machine.ended;
  expect(output).toContain('PRESSED');
  expect([status, errors]).toEqual([0, 'daybreak stop asks the guest to power off\n']);
});
