/** What a build takes from its host. */
import type { ConsolePcOptions, RunningMachine } from '../../boards/console-pc.ts';
import type { RestoreOptions } from '../../boards/pc.ts';
import type { ByteSource, StateCodec } from '../../machine/saved-state.ts';
import type { ArchiveHost } from '../debian/archive.ts';
import type { Progress } from '../progress.ts';

/** A machine that builds or is asked: its root is a file system of ours. */
export interface MachineRequest extends Pick<
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
> {
  /** A saved state, in a file or at hand: the machine goes on from it. As in `RestoreOptions`. */
  readonly restore?: { readonly source: string | ByteSource } & Pick<RestoreOptions, 'onlyAsked' | 'onPage'>;
}

export interface BuildMachine extends Pick<RunningMachine, 'input' | 'stop' | 'ended' | 'resize' | 'stats'> {
  /** The machine as it stands, as a saved state; it goes on. */
  state(): Promise<Uint8Array>;
}

export interface BuildHost extends ArchiveHost {
  /** Rejects with a VmError when the machine cannot be made. */
  readonly startMachine: (request: MachineRequest) => Promise<BuildMachine>;
  /** For states that are written once and read often. */
  readonly stateCodec: () => Promise<StateCodec>;
  readonly progress: Progress;
  /** Everything that the machine prints, as it comes: for a log. */
  readonly consoleLog: (data: Uint8Array) => void;
  /** An accelerator by name; undefined is the host's choice. */
  readonly accelerator?: string;
  readonly signal?: AbortSignal;
}
