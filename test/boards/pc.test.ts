/** What a PC does that no single chip of it does. */
import { beforeAll, describe, expect, test } from 'vitest';
import { createPc, type Pc, type PcOptions } from '../../src/boards/pc.ts';
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
/** The virtio function in a PCI slot becomes a driver's; its registers are at EAX then. */
const driveSlot = (slot: number): number[] => [
  ...[0xb8, ...le32(0x8000_0010 + (slot << 11)), 0x66, 0xba, 0xf8, 0x0c, 0xef], // BAR 0, by port 0xcf8
  ...[0xb2, 0xfc, 0xed, 0x24, 0xf0],
  ...[0xc7, 0x40, 8, ...le32(1), 0xc7, 0x40, 12, ...le32(1), 0xc6, 0x40, 20, 0x0f], // VERSION_1, DRIVER_OK
];
/** isa-debug-exit */
const exit = (value: number): number[] => [0xb0, value, 0xe6, 0xf4, 0xf4];

describe.each(ACCELERATORS)('on $name', (tested) => {
  let runtime: WebAssembly.Module;
  beforeAll(async () => void (runtime = await compileRuntime()), 300_000);

  const run = async (code: readonly number[]): Promise<MachineEnd> => (await make(code)).machine.run();

  function make(code: readonly number[], more: Partial<PcOptions> = {}): Promise<Pc> {
    return createPc({
      memoryBytes: 4 << 20,
      accelerator: tested.make(runtime),
      pace: new NodePace(),
      epochMs: 0,
      entropy: { fill: (into) => void into.fill(1) },
      serial: { write() {} },
      kernel: { kernel: makeMultiboot(undefined, Uint8Array.from(code)), name: 'made', commandLine: '' },
      debugExit: true,
      ...more,
    });
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

  test('reading a clock’s register takes time, as on hardware, and all clocks agree', async () => {
    const ticks = 0xfed0_00f0;
    const code = [
      ...store(0xfed0_0010, 1), // the HPET runs
      ...[0x0f, 0x31, 0x89, 0xc7], // rdtsc; mov %eax, %edi
      ...[0xa1, ...le32(ticks), 0x89, 0xc6, 0x31, 0xc9], // from ESI on, count in ECX
      ...[0x41, 0xa1, ...le32(ticks), 0x29, 0xf0, 0x3d, ...le32(100_000), 0x72, 0xf1], // until a millisecond is over
      ...[0x0f, 0x31, 0x29, 0xf8, 0x3d, ...le32(1_000_000), 0x0f, 0x93, 0xc0], // TSC, in nanoseconds: setae %al
      ...[0x81, 0xf9, ...le32(2001), 0x0f, 0x96, 0xc3], // setbe %bl
      ...[0xd0, 0xe3, 0x08, 0xd8, 0xe6, 0xf4, 0xf4],
    ];
    expect(await run(code)).toEqual({ kind: 'debug-exit', value: 3 });
  });

  test('two PCI devices on one input of the 8259As hold it until both have let go', async () => {
    const readPic = [0xe4, 0xa0]; // in $0xa0, %al: IRR of the slave, with IRQ 11 in bit 3
    const code = [
      ...[0xb0, 8, 0x66, 0xba, 0xd1, 0x04, 0xee], // ELCR: IRQ 11 is a level
      ...[...driveSlot(2), 0x89, 0xc6, ...driveSlot(3), 0x89, 0xc7], // registers at ESI and EDI
      ...[0xe6, 0xe9], // now, at the debug port
      ...[...readPic, 0xa8, 8, 0x74, 0xfa], // until it is there
      ...[0x8a, 0x8e, ...le32(0x1000), ...readPic, 0x24, 8, 0x88, 0xc3], // the first one's ISR register lets go
      ...[0x8a, 0x8f, ...le32(0x1000), ...readPic, 0x24, 8, 0xc0, 0xe8, 3, 0x08, 0xd8], // and the second one's
      ...[0xe6, 0xf4, 0xf4],
    ];
    const pc = await make(code, {
      console: { port: { write() {} }, cols: 1, rows: 1 },
      ports: [{ name: 'a', write() {} }],
      log(_level, source) {
        if (source !== 'guest') return;
        pc.machine.post(() => {
          for (const device of [pc.console!, pc.ports!]) device.resize(100, 50);
        });
      },
    });
    // Bit 3: still high after the first; bit 0: still high after the second.
    expect(await pc.machine.run()).toEqual({ kind: 'debug-exit', value: 8 });
  });
});
