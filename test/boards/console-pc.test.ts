/** What a face can do with a running PC. */
import { expect, test } from 'vitest';
import { silent } from '../../src/base/log.ts';
import { startConsolePc, type RunningMachine } from '../../src/boards/console-pc.ts';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import { NodeRandom } from '../../src/node/clock.ts';
import { NodePace } from '../../src/node/pace.ts';
import { compileRuntime } from '../engine/runtime.ts';

async function start(code: readonly number[]): Promise<RunningMachine> {
  const host = { pace: new NodePace(), random: new NodeRandom(), epochMs: 0, runtime: await compileRuntime() };
  return startConsolePc(host, {
    kernel: makeMultiboot(undefined, Uint8Array.from(code)),
    initrds: [],
    commandLine: '',
    memoryBytes: 16 << 20,
    accelerator: 'interpreter',
    console: 'serial',
    output: () => {},
    log: silent,
  });
}

const listen = [
  ...[0xb0, 0xa1, 0xe6, 0xb2], // ACPI mode, by the SMI command port
  ...[0x66, 0xba, 0x02, 0x06, 0x66, 0xb8, 0x00, 0x01, 0x66, 0xef], // PWRBTN_EN
  ...[0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9], // until PWRBTN_STS
];
const powerOff = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef]; // SLP_TYP of S5, SLP_EN
const halt = [0xf4, 0xeb, 0xfd];

test('a guest that listens to the power button can power off', { timeout: 300_000 }, async () => {
  const machine = await start([...listen, ...powerOff, ...halt]);
  expect(machine).toMatchObject({ accelerator: 'interpreter', memoryBytes: 16 << 20 });
  // It may not have come so far yet, and finds that it was pressed.
  await machine.pressPowerButton();
  expect(await machine.ended).toEqual({ kind: 'poweroff' });
  expect(await machine.pressPowerButton()).toBe(false);
});

test('a guest that does not listen to it is none that was asked', { timeout: 300_000 }, async () => {
  const machine = await start(halt);
  expect(await machine.pressPowerButton()).toBe(false);
  machine.stop();
  expect(await machine.ended).toEqual({ kind: 'stopped' });
});
