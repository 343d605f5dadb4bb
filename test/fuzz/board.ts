/** A whole PC whose world outside is made of chance: backends that fail now and then, inputs at odd moments, time in jumps. */
import { createPc, type Pc } from '../../src/boards/pc.ts';
import { VmError } from '../../src/base/errors.ts';
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import type { BlockBackend, CharBackend } from '../../src/machine/backends.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import type { Pace } from '../../src/platform/pace.ts';
import { pick, type Random } from './seeds.ts';

export const MEMORY_BYTES = 4 << 20;
const SECTORS = 64;

/** Time that jumps, so that no test waits; and far, so that the machine believes itself slow and keeps its slices short. */
class JumpingPace implements Pace {
  #now = 0;
  readonly #random: Random;
  /** Called at every pause, with what may happen from outside. */
  onBreath: () => void = () => {};

  constructor(random: Random) {
    this.#random = random;
  }

  nowMs(): number {
    return (this.#now += 50 + this.#random(100));
  }

  async breathe(): Promise<void> {
    this.onBreath();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async sleep(ms: number): Promise<void> {
    this.#now += Math.min(ms, 1000);
    await this.breathe();
  }
}

class ShakyDisk implements BlockBackend {
  readonly sectors = SECTORS;
  readonly readOnly: boolean;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    this.readOnly = random(3) === 0;
  }

  async #work(): Promise<void> {
    for (let n = this.#random(3); n > 0; n--) await Promise.resolve();
    if (this.#random(10) === 0) throw new VmError('host-io', 'the disk is shaky');
  }

  async read(sector: number, into: Uint8Array): Promise<void> {
    this.#check(sector, into.length / 512);
    await this.#work();
    into.fill(sector);
  }

  async write(sector: number, data: Uint8Array): Promise<void> {
    this.#check(sector, data.length / 512);
    await this.#work();
  }

  async flush(): Promise<void> {
    await this.#work();
  }

  async discard(sector: number, count: number): Promise<void> {
    this.#check(sector, count);
    await this.#work();
  }

  /** A device must not pass on what the guest got wrong. */
  #check(sector: number, count: number): void {
    if (!Number.isInteger(count) || sector < 0 || sector + count > SECTORS) throw new Error(`sectors ${sector} + ${count} of ${SECTORS}`);
  }
}

/** A PC that is disturbed from outside and stopped after so many breaths. */
export async function shakyPc(random: Random, accelerator: Accelerator, breaths: number): Promise<Pc> {
  const quiet: CharBackend = { write() {} };
  const pace = new JumpingPace(random);
  const pc = await createPc({
    memoryBytes: MEMORY_BYTES,
    accelerator,
    pace,
    epochMs: random(2) ? 0 : Date.UTC(2026, 10, 22),
    entropy: { fill: (into) => void into.fill(random(256)) },
    serial: quiet,
    disks: [new ShakyDisk(random)],
    console: { port: quiet, cols: 80, rows: 25 },
    ports: [{ name: 'port', write() {} }],
    kernel: { kernel: makeMultiboot(), name: 'made', commandLine: '' },
    debugExit: true,
  });
  const bytes = (): Uint8Array => Uint8Array.from({ length: random(40) }, () => random(256));
  const inputs: readonly (() => void)[] = [
    () => pc.serial.receive(bytes()),
    () => pc.serial.receiveBreak(),
    () => pc.keyboard.key([...bytes()]),
    () => pc.keyboard.mouse(random(1000) - 500, random(1000) - 500, random(20) - 10, random(8)),
    () => pc.console?.receive(0, bytes()),
    () => pc.console?.resize(random(300), random(300)),
    () => pc.ports?.receive(0, bytes()),
    () => pc.ports?.setHostOpen(0, random(2) === 1),
    () => pc.power.pressPowerButton(),
    () => pc.power.raiseGpe(random(32)),
  ];
  let left = breaths;
  pace.onBreath = () => {
    if (left-- === 0) pc.machine.end({ kind: 'stopped' });
    if (random(2)) pc.machine.post(pick(random, inputs));
  };
  return pc;
}
