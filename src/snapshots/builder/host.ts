/** What a build takes from its host. */
import type { ConsolePcOptions, RunningMachine } from '../../boards/console-pc.ts';
import type { ArchiveHost } from '../debian/archive.ts';
import type { Progress } from '../progress.ts';

/** A machine that builds or is asked: its root is a file system of ours. */
export type MachineRequest = Pick<
  ConsolePcOptions,
  | 'kernel'
  | 'initrds'
  | 'commandLine'
  | 'memoryBytes'
  | 'accelerator'
  | 'console'
  | 'consoleSize'
  | 'output'
  | 'control'
  | 'fileSystems'
  | 'noReboot'
  | 'log'
>;

export interface BuildMachine extends Pick<RunningMachine, 'input' | 'stop' | 'ended'> {
  /** The machine as it stands, as a saved state; it ends then. */
  state(): Promise<Uint8Array>;
}

export interface BuildHost extends ArchiveHost {
  /** Rejects with a VmError when the machine cannot be made. */
  readonly startMachine: (request: MachineRequest) => Promise<BuildMachine>;
  readonly progress: Progress;
  /** Everything that the machine prints, as it comes: for a log. */
  readonly consoleLog: (data: Uint8Array) => void;
  /** An accelerator by name; undefined is the host's choice. */
  readonly accelerator?: string;
  readonly signal?: AbortSignal;
}
