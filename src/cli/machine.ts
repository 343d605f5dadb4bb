/**
 * The one door from the command line to the machine: what a verb asks for and what it gets. Verbs know nothing of
 * boards, devices or accelerators.
 */
import { readFile } from 'node:fs/promises';
import { startConsolePc, type ConsolePcOptions, type RunningMachine } from '../boards/console-pc.ts';
import type { MachineEnd } from '../machine/machine.ts';
import { VmError } from '../base/errors.ts';
import { NodeRandom } from '../node/clock.ts';
import { openKvm } from '../node/kvm/open.ts';
import { NodePace } from '../node/pace.ts';
import { RawDisk } from '../node/raw-disk.ts';
import { interpreter } from '../x86/accelerator.ts';

export interface MachineOptions extends Omit<ConsolePcOptions, 'disks'> {
  readonly disks?: readonly { readonly path: string; readonly readOnly: boolean }[];
}

export type { MachineEnd, RunningMachine };

/** Rejects with a VmError when the machine cannot be made: a malformed kernel, a missing disk. */
export type StartMachine = (options: MachineOptions) => Promise<RunningMachine>;

/** A module that the build has put beside this one. */
async function compiled(name: string): Promise<WebAssembly.Module> {
  return new WebAssembly.Module(await readFile(new URL(name, import.meta.url)));
}

export const startMachine: StartMachine = async (options) => {
  const runtime = await compiled('runtime.wasm');
  const handlers = await compiled('handlers.wasm');
  const disks: RawDisk[] = [];
  const { accelerator: name, cpu } = options;
  const kvm = name === 'kvm' || name === 'auto' ? await openKvm(name, interpreter(runtime), options.log) : undefined;
  const close = (): Promise<unknown> => {
    kvm?.dispose();
    return Promise.all(disks.map((disk) => disk.close().catch(() => {})));
  };
  try {
    if (kvm && cpu !== undefined) throw new VmError('unsupported', `--cpu ${cpu}: under KVM the processor is the host's; leave it out`);
    for (const { path, readOnly } of options.disks ?? []) disks.push(await RawDisk.open(path, readOnly));
    const host = {
      pace: new NodePace(),
      random: new NodeRandom(),
      epochMs: Date.now(),
      runtime,
      handlers,
      ...(kvm && { accelerator: kvm }),
    };
    const machine = await startConsolePc(host, { ...options, disks });
    return {
      ...machine,
      ended: machine.ended.finally(close),
    };
  } catch (error) {
    await close();
    throw error;
  }
};
