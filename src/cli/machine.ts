/**
 * The one door from the command line to the machine: what a verb asks for and what it gets. Verbs know nothing of
 * boards, devices or accelerators.
 */
import { readFile } from 'node:fs/promises';
import { startConsolePc, type ConsolePcOptions, type RunningMachine } from '../boards/console-pc.ts';
import type { MachineEnd } from '../machine/machine.ts';
import { NodeRandom } from '../node/clock.ts';
import { NodePace } from '../node/pace.ts';
import { RawDisk } from '../node/raw-disk.ts';

export interface MachineOptions extends Omit<ConsolePcOptions, 'disks'> {
  readonly disks?: readonly { readonly path: string; readonly readOnly: boolean }[];
}

export type { MachineEnd, RunningMachine };

/** Rejects with a VmError when the machine cannot be made: a malformed kernel, a missing disk. */
export type StartMachine = (options: MachineOptions) => Promise<RunningMachine>;

export const startMachine: StartMachine = async (options) => {
  const runtime = new WebAssembly.Module(await readFile(new URL('runtime.wasm', import.meta.url)));
  const disks: RawDisk[] = [];
  const close = (): Promise<unknown> => Promise.all(disks.map((disk) => disk.close().catch(() => {})));
  try {
    for (const { path, readOnly } of options.disks ?? []) disks.push(await RawDisk.open(path, readOnly));
    const host = { pace: new NodePace(), random: new NodeRandom(), epochMs: Date.now(), runtime };
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
