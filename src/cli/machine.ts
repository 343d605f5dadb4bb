/**
 * The one door from the command line to the machine: what a verb asks for and what it gets. Verbs know nothing of
 * boards, devices or accelerators.
 */
import { readFile } from 'node:fs/promises';
import { VmError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { createPc } from '../boards/pc.ts';
import type { MachineEnd } from '../machine/machine.ts';
import type { Accelerator } from '../machine/vcpu.ts';
import { NodeRandom } from '../node/clock.ts';
import { NodePace } from '../node/pace.ts';
import { RawDisk } from '../node/raw-disk.ts';
import { interpreter, jit } from '../x86/accelerator.ts';
import type { TerminalSize } from '../platform/terminal.ts';

export interface MachineOptions {
  /** bzImage, ELF with PVH note or multiboot kernel. */
  readonly kernel: Uint8Array;
  /** What to call it in errors. */
  readonly kernelName?: string;
  /** Loaded one after the other as one initrd. */
  readonly initrds: readonly Uint8Array[];
  readonly commandLine: string;
  readonly memoryBytes: number;
  /** A CPUID model by name; undefined is the default one. */
  readonly cpu?: string;
  readonly accelerator?: string;
  readonly disks?: readonly { readonly path: string; readonly readOnly: boolean }[];
  /** `virtio`: hvc0, with size and control port. `serial`: the 16550 at 0x3f8. */
  readonly console: 'virtio' | 'serial';
  /** Initial size of a virtio console. */
  readonly consoleSize?: TerminalSize;
  /** What the guest prints on the console. */
  readonly output: (data: Uint8Array) => void;
  /** A line, without its end, that the guest wrote to the port `org.daybreak.control`. */
  readonly control?: (line: string) => void;
  /** The isa-debug-exit device. */
  readonly debugExit?: boolean;
  /** A reset ends the machine instead of starting it again. */
  readonly noReboot?: boolean;
  readonly log: Log;
}

export type { MachineEnd };

export interface MachineStats {
  readonly instructions: number;
  /** Further figures by name, for `--stats`. */
  readonly details?: Readonly<Record<string, number | string>>;
}

export interface RunningMachine {
  /** Bytes typed at the console. Kept until the guest takes them. */
  input(data: Uint8Array): void;
  resize(size: TerminalSize): void;
  /** Never rejects. */
  readonly ended: Promise<MachineEnd>;
  /** Ends the machine as pulling the plug would. Idempotent. */
  stop(): void;
  stats(): MachineStats;
}

/** Rejects with a VmError when the machine cannot be made: a malformed kernel, a missing disk. */
export type StartMachine = (options: MachineOptions) => Promise<RunningMachine>;

const CONTROL_PORT = 'org.daybreak.control';
/** A control line is short; a guest that never ends one is cut. */
const CONTROL_LINE_MAX = 4096;
/** What waits to be typed may not grow without bound: a pasted file is fine, a stuck guest is not. */
const INPUT_MAX = 1 << 20;

export const startMachine: StartMachine = async (options) => {
  const accelerator = await acceleratorFor(options);
  const opened: RawDisk[] = [];
  for (const { path, readOnly } of options.disks ?? []) opened.push(await RawDisk.open(path, readOnly));
  const input = new Backlog();
  let feed = (): void => {};
  const virtio = options.console === 'virtio';
  const [first, ...rest] = options.initrds;
  const pc = await createPc({
    memoryBytes: options.memoryBytes,
    accelerator,
    pace: new NodePace(),
    epochMs: Date.now(),
    entropy: new NodeRandom(),
    log: options.log,
    serial: { write: (data) => virtio || options.output(data) },
    disks: opened,
    ...(virtio && {
      console: {
        port: { write: options.output, room: () => feed() },
        cols: options.consoleSize?.columns ?? 80,
        rows: options.consoleSize?.rows ?? 25,
      },
      ports: [{ name: CONTROL_PORT, write: lines(options.control ?? (() => {})) }],
    }),
    kernel: {
      kernel: options.kernel,
      name: options.kernelName ?? 'kernel',
      initrd: rest.length === 0 ? first : concatenate(options.initrds),
      commandLine: options.commandLine,
    },
    ...(options.debugExit && { debugExit: true }),
    ...(options.noReboot && { noReboot: true }),
  });
  const { machine } = pc;
  const take = (data: Uint8Array): number => (pc.console ? pc.console.receive(0, data) : pc.serial.receive(data));
  feed = () => input.feed(take);
  // The serial port says nothing when it has room again: it is asked while bytes wait.
  const retry = setInterval(() => input.length > 0 && machine.post(feed), 20);
  retry.unref();
  const ended = machine.run().finally(async () => {
    clearInterval(retry);
    await Promise.all(opened.map((disk) => disk.close().catch(() => {})));
  });
  return {
    input(data) {
      input.push(data);
      machine.post(feed);
    },
    resize: ({ columns, rows }) => machine.post(() => pc.console?.resize(columns, rows)),
    ended,
    stop: () => machine.end({ kind: 'stopped' }),
    stats: () => ({ instructions: pc.vcpu.executed, details: pc.vcpu.counts }),
  };
};

const ACCELERATORS: Readonly<Record<string, typeof interpreter>> = { auto: jit, jit, interpreter };

async function acceleratorFor({ accelerator = 'auto', cpu }: MachineOptions): Promise<Accelerator> {
  const make = ACCELERATORS[accelerator];
  if (!make) throw new VmError('unsupported', `--accel ${accelerator}: not known here (known: jit, interpreter)`);
  return make(new WebAssembly.Module(await readFile(new URL('runtime.wasm', import.meta.url))), cpu);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  // Archives that follow each other each begin at a multiple of four.
  const sizes = parts.map(({ length }) => (length + 3) & ~3);
  const whole = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  parts.forEach((part, n) => {
    whole.set(part, at);
    at += sizes[n]!;
  });
  return whole;
}

/** Calls back with each line of a stream of bytes, without its end. */
function lines(callback: (line: string) => void): (data: Uint8Array) => void {
  let rest = '';
  return (data) => {
    const parts = (rest + new TextDecoder('latin1').decode(data)).split('\n');
    rest = parts.pop()!.slice(0, CONTROL_LINE_MAX);
    for (const line of parts) callback(line.slice(0, CONTROL_LINE_MAX));
  };
}

/** Typed bytes that the guest has not taken yet. */
class Backlog {
  #chunks: Uint8Array[] = [];
  length = 0;

  push(data: Uint8Array): void {
    if (this.length + data.length > INPUT_MAX) return;
    this.#chunks.push(data.slice());
    this.length += data.length;
  }

  feed(take: (data: Uint8Array) => number): void {
    for (let chunk = this.#chunks[0]; chunk; chunk = this.#chunks[0]) {
      const taken = take(chunk);
      this.length -= taken;
      if (taken < chunk.length) {
        this.#chunks[0] = chunk.subarray(taken);
        return;
      }
      this.#chunks.shift();
    }
  }
}
