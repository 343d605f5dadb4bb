/** A machine that moves from one accelerator to another, and what its states say. */
import { concatBytes } from '../../src/base/bytes.ts';
import { createPc, type Pc, type PcOptions } from '../../src/boards/pc.ts';
import { readSavedPc } from '../../src/boards/pc-state.ts';
import type { MachineEnd } from '../../src/machine/machine.ts';
import { openState } from '../../src/machine/saved-state-file.ts';
import type { ByteSource, StateCodec } from '../../src/machine/saved-state.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import { NodePace } from '../../src/node/pace.ts';

const EPOCH = Date.UTC(2026, 10, 22);
const PAGE = 4096;

/** One machine, wherever it is. */
export class Traveller {
  printed = '';
  pc!: Pc;
  readonly #codec: StateCodec;
  readonly #options: Partial<PcOptions>;

  constructor(codec: StateCodec, options: Partial<PcOptions>) {
    this.#codec = codec;
    this.#options = options;
  }

  async arrive(accelerator: Accelerator, from?: Uint8Array): Promise<void> {
    const state = from && readSavedPc(source(from), this.#codec);
    this.pc = await createPc({
      memoryBytes: 4 << 20,
      accelerator,
      pace: new NodePace(),
      epochMs: EPOCH,
      entropy: { fill: (into) => void into.fill(7) },
      serial: { write: (data) => void (this.printed += String.fromCharCode(...data)) },
      debugExit: true,
      ...this.#options,
      ...(state && { restore: { state, identity: 'same' } }),
    });
  }

  /** Runs until it has printed so much more, and then a little. */
  async goOn(dots: number, afterMs: number): Promise<{ readonly ended: Promise<MachineEnd> }> {
    const until = this.printed.length + dots;
    const running = { ended: this.pc.machine.run() };
    while (this.printed.length < until && !this.pc.machine.over) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    return running;
  }

  async save(then: 'go on' | 'end'): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    await this.pc.save(this.#codec, async (data) => void parts.push(...data), then);
    return concatBytes(parts);
  }
}

const source = (data: Uint8Array): ByteSource => ({
  name: 'machine.state',
  sizeBytes: data.length,
  read: (offset, length) => data.subarray(offset, offset + length),
});

/** All that a state says, but for the wall clock, which is the host's; and all of memory. */
export function contents(data: Uint8Array, codec: StateCodec): unknown {
  const opened = openState(source(data), codec);
  const page = (content: number): Uint8Array => opened.readFrame(content >> 4).slice((content & 15) * PAGE, (content & 15) * PAGE + PAGE);
  const memory = Object.fromEntries(Array.from(opened.pages, (number, n) => [number, page(opened.contents[n]!)]));
  return { ...(opened.description as object), wallMs: 0, memory };
}

/** Where two such differ, and how. */
export function differences(one: unknown, other: unknown, path = ''): string[] {
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) {
    return one === other ? [] : [`${path}: ${String(one)} or ${String(other)}`];
  }
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].flatMap((name) => differences(one[name as never], other[name as never], `${path}.${name}`)).slice(0, 20);
}
