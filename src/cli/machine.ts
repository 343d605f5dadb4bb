/**
 * The one door from the command line to the machine: what a verb asks for and what it gets. Verbs know nothing of
 * boards, devices or accelerators.
 */
import { VmError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { TerminalSize } from '../platform/terminal.ts';

export interface MachineOptions {
  /** bzImage, ELF with PVH note or multiboot kernel. */
  readonly kernel: Uint8Array;
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

/** How a machine's life ended. */
export type MachineEnd =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset' } // with noReboot
  | { readonly kind: 'debug-exit'; readonly value: number }
  | { readonly kind: 'stopped' } // by `stop`
  | { readonly kind: 'failed'; readonly error: unknown };

export interface MachineStats {
  readonly instructions: bigint;
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

export const startMachine: StartMachine = async (options) => {
  throw new VmError('unsupported', `no machine yet for ${options.memoryBytes} bytes of memory`);
};
