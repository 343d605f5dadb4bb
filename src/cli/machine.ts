/**
 * The one door from the command line to the machine: what a verb asks for and what it gets. Verbs know nothing of
 * boards, devices or accelerators.
 */
import { readFileSync } from 'node:fs';
import { startConsolePc, type ConsolePcOptions, type RunningMachine as ConsoleMachine } from '../boards/console-pc.ts';
import { readSavedPc } from '../boards/pc-state.ts';
import type { RestoreOptions } from '../boards/pc.ts';
import type { SharedFileSystem } from '../machine/backends.ts';
import type { MachineEnd } from '../machine/machine.ts';
import type { ByteSource } from '../machine/saved-state.ts';
import { concatBytes } from '../base/bytes.ts';
import { NodeRandom } from '../node/clock.ts';
import { FileSource } from '../node/file-source.ts';
import { NodeFiles } from '../node/files.ts';
import { openKvm } from '../node/kvm/open.ts';
import { openHostDirectory } from '../node/host-directory.ts';
import { NodePace } from '../node/pace.ts';
import { RawDisk } from '../node/raw-disk.ts';
import { nodeStateCodec } from '../node/state-codec.ts';
import { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import { completer } from '../x86/accelerator.ts';
import type { EngineModules } from '../x86/engine.ts';
import { compileOwn, compileRegions } from './wasm-modules.ts';

export interface MachineOptions extends Omit<ConsolePcOptions, 'disks' | 'restore' | 'memoryBytes'> {
  readonly disks?: readonly { readonly path: string; readonly readOnly: boolean }[];
  /** Directories of the host: the guest writes into a layer above them that goes with the machine. */
  readonly directories?: readonly { readonly tag: string; readonly path: string }[];
  /** A saved state: the machine goes on from it. */
  readonly restore?: SavedStateOptions;
  /** Absent: as much as the saved state has. */
  readonly memoryBytes?: number;
}

/** Where a state is, and how its pages come. */
export interface SavedStateOptions extends Pick<RestoreOptions, 'onlyAsked' | 'onPage'> {
  /** A file by its path, which is verified first unless it is very large; or bytes that are verified when they are needed. */
  readonly source: string | ByteSource;
}

export interface RunningMachine extends Omit<ConsoleMachine, 'save'> {
  /**
   * Writes the machine's state to a file, which appears when it is whole; the machine ends then if it is told so, and goes on
   * when that fails. Resolves with the file's size.
   */
  save(path: string, then: 'go on' | 'end'): Promise<number>;
  /** The same in memory; the machine goes on. */
  state(): Promise<Uint8Array>;
}

/** One that somebody is at, wherever it runs. */
export type AttachedMachine = Omit<RunningMachine, 'state'>;

export type { MachineEnd };

/** What the build has put beside this one. */
const VCPU_THREAD = { url: new URL('vcpu-thread.js', import.meta.url) };

/** Rejects with a VmError when the machine cannot be made: a malformed kernel, a missing disk, a state that does not fit. */
export type StartMachine = (options: MachineOptions) => Promise<RunningMachine>;

/** A state up to this size is verified before the machine goes on; of a larger one each part when it is needed. */
const VERIFIED_FIRST_BYTES = 1 << 27;

/** A module that the build has put beside this one. */
function compiled(name: string): WebAssembly.Module {
  return compileOwn(readFileSync(new URL(name, import.meta.url)));
}

/** What our own processor is made of. Under KVM it is seldom needed, and takes some megabytes. */
function engine(): EngineModules {
  return { runtime: compiled('runtime.wasm'), handlers: compiled('handlers.wasm'), compileRegions };
}

export const startMachine: StartMachine = async (options) => {
  const disks: RawDisk[] = [];
  const { accelerator: name, restore } = options;
  const file = typeof restore?.source === 'string' ? new FileSource(restore.source) : undefined;
  const source = file ?? (restore?.source as ByteSource | undefined);
  let kvm: Awaited<ReturnType<typeof openKvm>>;
  const close = (): Promise<unknown> => {
    kvm?.dispose();
    file?.close();
    return Promise.all(disks.map((disk) => disk.close().catch(() => {})));
  };
  try {
    const saved = source && readSavedPc(source, await nodeStateCodec());
    if (file && file.sizeBytes <= VERIFIED_FIRST_BYTES) saved!.opened.verify();
    const cpu = options.cpu ?? saved?.cpu;
    const kvmOptions = { completer: completer(engine), program: VCPU_THREAD, cpu, log: options.log };
    kvm = name === 'kvm' || name === 'auto' ? await openKvm(name, kvmOptions) : undefined;
    for (const { path, readOnly } of options.disks ?? []) disks.push(await RawDisk.open(path, readOnly));
    const fileSystems: SharedFileSystem[] = [...(options.fileSystems ?? [])];
    for (const { tag, path } of options.directories ?? []) {
      const { tree, store } = await openHostDirectory(path, options.log);
      fileSystems.push({ tag, backend: new TreeFileSystem(tree, store) });
    }
    const host = {
      pace: new NodePace(),
      random: new NodeRandom(),
      epochMs: Date.now(),
      ...(kvm ? { accelerator: kvm } : engine()),
    };
    const { restore: _, memoryBytes = saved?.memoryBytes ?? 0, ...rest } = options;
    const machine = await startConsolePc(host, {
      ...rest,
      memoryBytes,
      disks,
      fileSystems,
      ...(cpu !== undefined && { cpu }),
      ...(saved && { restore: { ...restore, state: saved } }),
    });
    return {
      ...machine,
      save: (path, then) => saveTo(machine, path, then),
      state: () => stateOf(machine),
      ended: machine.ended.finally(close),
    };
  } catch (error) {
    await close();
    throw error;
  }
};

async function saveTo(machine: ConsoleMachine, path: string, then: 'go on' | 'end'): Promise<number> {
  let size = 0;
  async function* counted(data: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for (const part of data) {
      size += part.length;
      yield part;
    }
  }
  await machine.save(await nodeStateCodec(), (data) => new NodeFiles().write(path, counted(data)), then);
  return size;
}

async function stateOf(machine: ConsoleMachine): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await machine.save(await nodeStateCodec(), async (data) => void parts.push(...data), 'go on');
  return concatBytes(parts);
}
