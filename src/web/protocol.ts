/** What a page and the worker with its machine say to each other. Everything survives structured cloning. */
import type { LogLevel } from '../base/log.ts';
import type { VCpuCounts } from '../machine/vcpu.ts';

/** Begins the worker's only machine. The buffers of kernel and initrds are transferred. */
export interface StartMessage {
  readonly type: 'start';
  readonly kernel: Uint8Array<ArrayBuffer>;
  /** What to call it in errors. */
  readonly kernelName: string;
  readonly initrds: readonly Uint8Array<ArrayBuffer>[];
  readonly commandLine: string;
  readonly memoryBytes: number;
  /** By name; absent: the default ones. */
  readonly accelerator?: string;
  readonly cpu?: string;
  /** `serial`: the 16550 at 0x3f8. `virtio`: hvc0, which knows the size of the terminal. */
  readonly console: 'serial' | 'virtio';
  readonly columns: number;
  readonly rows: number;
  readonly noReboot: boolean;
  readonly debugExit: boolean;
}

/** From the page. What comes before the machine is made waits. */
export type ToWorker =
  | StartMessage
  /** Bytes typed at the console. */
  | { readonly type: 'input'; readonly data: Uint8Array<ArrayBuffer> }
  | { readonly type: 'resize'; readonly columns: number; readonly rows: number };

/** Why the machine is no more: machine/machine.ts's `MachineEnd` with what can be said of a failure. */
export type EndMessage =
  | { readonly type: 'ended'; readonly kind: 'poweroff' | 'reset' | 'stopped' }
  | { readonly type: 'ended'; readonly kind: 'debug-exit'; readonly value: number }
  | { readonly type: 'ended'; readonly kind: 'failed'; readonly message: string };

export interface FiguresMessage {
  readonly type: 'figures';
  readonly stats: VCpuCounts;
  /** Host time since the machine was made. */
  readonly elapsedMs: number;
}

/** From the worker. `figures` come each second while the guest does something, and before `ended`, which is the last. */
export type FromWorker =
  /** The machine is made and runs. */
  | { readonly type: 'started' }
  /** What the guest printed on its console. */
  | { readonly type: 'output'; readonly data: Uint8Array<ArrayBuffer> }
  /** A line that the guest wrote to the port `org.daybreak.control`. */
  | { readonly type: 'control'; readonly line: string }
  | { readonly type: 'log'; readonly level: LogLevel; readonly component: string; readonly message: string }
  | FiguresMessage
  | EndMessage;
