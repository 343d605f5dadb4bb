/**
 * A running PC with one console: what every face starts, on every host. Faces know nothing of boards, devices or
 * accelerators, and this knows nothing of hosts.
 */
import { concatBytes } from '../base/bytes.ts';
import { VmError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { BlockBackend, SharedFileSystem } from '../machine/backends.ts';
import type { MachineEnd } from '../machine/machine.ts';
import type { Accelerator, CpuIdentity, VCpuCounts } from '../machine/vcpu.ts';
import type { Pace } from '../platform/pace.ts';
import type { Random } from '../platform/random.ts';
import type { TerminalSize } from '../platform/terminal.ts';
import { interpreter, jit } from '../x86/accelerator.ts';
import type { CompilerObserver } from '../x86/compiler/observer.ts';
import type { EngineModules } from '../x86/engine.ts';
import { createPc, type Pc, type PcOptions, type RestoreOptions } from './pc.ts';

/** What a host gives to a machine. */
interface HostParts {
  readonly pace: Pace;
  readonly random: Random;
  /** Milliseconds since 1970, now. */
  readonly epochMs: number;
}

/** With what our own processor is made of, or the host's own way to run guest code. */
export type ConsolePcHost = HostParts & ((EngineModules & { readonly accelerator?: undefined }) | { readonly accelerator: Accelerator });

export interface ConsolePcOptions {
  /** bzImage, ELF with PVH note or multiboot kernel. A restored machine needs it only to start again after a reset. */
  readonly kernel?: Uint8Array;
  /** Goes on from a saved state instead of starting; all other options must be as they were. */
  readonly restore?: Omit<RestoreOptions, 'identity'>;
  /** What to call it in errors. */
  readonly kernelName?: string;
  /** Loaded one after the other as one initrd. */
  readonly initrds: readonly Uint8Array[];
  readonly commandLine: string;
  readonly memoryBytes: number;
  /** Processors; one when absent. */
  readonly cpus?: number;
  /** A CPUID model by name, or what a saved machine has seen; undefined is the default one. Not for an accelerator of the host's. */
  readonly cpu?: string | CpuIdentity;
  /** By name; undefined is the best one. */
  readonly accelerator?: string;
  /** Watches the compiler, where there is one. */
  readonly compilerObserver?: CompilerObserver;
  readonly disks?: readonly BlockBackend[];
  readonly fileSystems?: readonly SharedFileSystem[];
  readonly network?: PcOptions['network'];
  /** `virtio`: hvc0, with size and control port. `serial`: the 16550 at 0x3f8. */
  readonly console: 'virtio' | 'serial';
  /** Initial size of a virtio console. */
  readonly consoleSize?: TerminalSize;
  /** What the guest prints on the console. The bytes are valid during the call only. */
  readonly output: (data: Uint8Array) => void;
  /** A line, without its end, that the guest wrote to the port `org.daybreak.control`. */
  readonly control?: (line: string) => void;
  /** The isa-debug-exit device. */
  readonly debugExit?: boolean;
  /** A reset ends the machine instead of starting it again. */
  readonly noReboot?: boolean;
  readonly log: Log;
}

export interface RunningMachine {
  /** Bytes typed at the console, kept until the guest takes them. Resolves when it has taken all; never if it does not. */
  input(data: Uint8Array): Promise<void>;
  /** How many bytes it has not taken yet. */
  waiting(): number;
  resize(size: TerminalSize): void;
  /** Never rejects. */
  readonly ended: Promise<MachineEnd>;
  /** Ends the machine as pulling the plug would. Idempotent. */
  stop(): void;
  /**
   * Presses the power button, which asks a guest to power off in its own way. Whether it listens to that button now: one that does may
   * still do nothing. False when the machine has ended.
   */
  pressPowerButton(): Promise<boolean>;
  /** What executes the guest's instructions. */
  readonly accelerator: Accelerator['name'];
  readonly memoryBytes: number;
  /** What the processor has done so far. */
  stats(): VCpuCounts;
  /** As `Pc.save`. What is typed and not taken yet is not saved. */
  save: Pc['save'];
}

/**
 * What a person has typed may not wait without bound: a pasted file is fine, a stuck guest is not. Faces drop what is typed
 * while so much waits, and go on listening; of what is piped in they read no more instead.
 */
export const TYPED_MAX = 1 << 20;

const CONTROL_PORT = 'org.daybreak.control';
/** A control line is short; a guest that never ends one is cut. */
const CONTROL_LINE_MAX = 4096;

const ACCELERATORS: Readonly<Record<string, typeof jit>> = { auto: jit, jit, interpreter };

/** Rejects with a VmError when the machine cannot be made: a malformed kernel, an accelerator that is not known. */
export async function startConsolePc(host: ConsolePcHost, options: ConsolePcOptions): Promise<RunningMachine> {
  if (!options.kernel && !options.restore) throw new VmError('usage', 'a machine needs a kernel, or a state to go on from');
  const input = new Backlog();
  let more = (): void => {};
  const virtio = options.console === 'virtio';
  const accelerator = host.accelerator ?? acceleratorFor(options, host);
  const pc = await createPc({
    memoryBytes: options.memoryBytes,
    ...(options.cpus !== undefined && { cpus: options.cpus }),
    accelerator,
    pace: host.pace,
    epochMs: host.epochMs,
    entropy: host.random,
    log: options.log,
    serial: { write: (data) => virtio || options.output(data), room: () => more() },
    disks: options.disks ?? [],
    fileSystems: options.fileSystems ?? [],
    ...(options.network && { network: options.network }),
    ...(virtio && {
      console: {
        port: { write: options.output, room: () => more() },
        cols: options.consoleSize?.columns ?? 80,
        rows: options.consoleSize?.rows ?? 25,
      },
      ports: [{ name: CONTROL_PORT, write: lines(options.control ?? (() => {})) }],
    }),
    ...(options.kernel && {
      kernel: {
        kernel: options.kernel,
        name: options.kernelName ?? 'kernel',
        initrd: options.initrds.length === 0 ? undefined : concatBytes(options.initrds.flatMap(padded)),
        commandLine: options.commandLine,
      },
    }),
    ...(options.restore && { restore: { ...options.restore, identity: 'new' } }),
    ...(options.debugExit && { debugExit: true }),
    ...(options.noReboot && { noReboot: true }),
  });
  const { machine } = pc;
  const take = (data: Uint8Array): number => (pc.console ? pc.console.receive(0, data) : pc.serial.receive(data));
  more = () => machine.post(() => input.feed(take));
  const ended = machine.run();
  return {
    input(data) {
      const taken = input.push(data);
      more();
      return taken;
    },
    waiting: () => input.length,
    resize: ({ columns, rows }) => machine.post(() => pc.console?.resize(columns, rows)),
    ended,
    stop: () => machine.end({ kind: 'stopped' }),
    pressPowerButton: () =>
      new Promise((resolve) => {
        machine.post(() => resolve(pc.power.pressPowerButton()));
        void ended.then(() => resolve(false));
      }),
    accelerator: accelerator.name,
    memoryBytes: options.memoryBytes,
    stats: () => pc.vcpu.counts,
    save: pc.save,
  };
}

function acceleratorFor(
  { accelerator = 'auto', cpu, compilerObserver: observer }: ConsolePcOptions,
  { runtime, ...modules }: EngineModules,
): Accelerator {
  const make = Object.hasOwn(ACCELERATORS, accelerator) ? ACCELERATORS[accelerator] : undefined;
  if (!make) throw new VmError('unsupported', `--accel ${accelerator}: not known here (known: jit, interpreter)`);
  return make(runtime, cpu, { ...modules, observer });
}

/** Archives that follow each other each begin at a multiple of four. */
function padded(archive: Uint8Array, index: number, all: readonly Uint8Array[]): Uint8Array[] {
  const last = index === all.length - 1;
  return last || archive.length % 4 === 0 ? [archive] : [archive, new Uint8Array(4 - (archive.length % 4))];
}

/** Calls back with each line of a stream of bytes, without its end. */
function lines(callback: (line: string) => void): (data: Uint8Array) => void {
  let rest = '';
  return (data) => {
    const parts = (rest + latin1(data)).split('\n');
    rest = parts.pop()!.slice(0, CONTROL_LINE_MAX);
    for (const line of parts) callback(line.slice(0, CONTROL_LINE_MAX));
  };
}

/** Browsers do not decode memory that may be shared, as the guest's may. */
function latin1(data: Uint8Array): string {
  return new TextDecoder('latin1').decode(data.slice());
}

/** Typed bytes that the guest has not taken yet. */
class Backlog {
  #chunks: Uint8Array[] = [];
  #emptied: (() => void)[] = [];
  length = 0;

  /** Resolves when everything has been taken. */
  push(data: Uint8Array): Promise<void> {
    this.#chunks.push(data.slice());
    this.length += data.length;
    return new Promise((resolve) => this.#emptied.push(resolve));
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
    for (const resolve of this.#emptied.splice(0)) resolve();
  }
}
