/** What a PC does that no single chip of it does. */
import { beforeAll, describe, expect, test } from 'vitest';
import { createPc } from '../../src/boards/pc.ts';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import type { MachineEnd } from '../../src/machine/machine.ts';
import { NodePace } from '../../src/node/pace.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { compileRuntime } from '../engine/runtime.ts';

const ICR_LOW = 0xfee0_0300;
const ICR_HIGH = 0xfee0_0310;
const PHYSICAL_INIT = 0x4500;
const STARTUP = 0x4602;
/** Not touched by loading a kernel. */
const COUNTER = 0x18_0000;

const le32 = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
/** mov dword [address], value */
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...le32(address), ...le32(value)];
/** isa-debug-exit */
const exit = (value: number): number[] => [0xb0, value, 0xe6, 0xf4, 0xf4];

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let runtime: WebAssembly.Module;
  beforeAll(async () => void (runtime = await compileRuntime()), 300_000);

  async function run(code: readonly number[]): Promise<MachineEnd> {
    const { machine } = await createPc({
      memoryBytes: 4 << 20,
      accelerator: make(runtime),
      pace: new NodePace(),
      epochMs: 0,
      entropy: { fill: (into) => void into.fill(1) },
      serial: { write() {} },
      kernel: { kernel: makeMultiboot(undefined, Uint8Array.from(code)), name: 'made', commandLine: '' },
      debugExit: true,
    });
    return machine.run();
  }

  test('a processor that sends INIT to itself starts again, with the memory as it was', async () => {
    const [again, waits] = [exit(42), [0xeb, 0xfe]];
    const first = [...store(ICR_HIGH, 0), ...store(ICR_LOW, PHYSICAL_INIT), ...waits];
    const counted = [0xa1, ...le32(COUNTER), 0xff, 0x05, ...le32(COUNTER), 0x85, 0xc0]; // load, increment, test
    expect(await run([...counted, 0x75, first.length, ...first, ...again])).toEqual({ kind: 'debug-exit', value: 42 });
  });

  test('a start-up message does nothing to a processor that runs', async () => {
    expect(await run([...store(ICR_HIGH, 0), ...store(ICR_LOW, STARTUP), 0x90, ...exit(7)])).toEqual({ kind: 'debug-exit', value: 7 });
  });
});
