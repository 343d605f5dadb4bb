/** What a build says of a guest that comes to no prompt. */
import { nodeHost } from '../../src/cli/host.ts';
import { NodeClock } from '../../src/node/clock.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { bootAndAsk } from '../../src/snapshots/builder/booted.ts';
import { startStateMachine, type Root } from './tree-root.ts';

/** The error's message. Time for the one who waits goes so many times as fast: that a guest rests is seen in less. */
export async function promptFailure(vmlinuz: Uint8Array, { tree, store }: Root, haste: number): Promise<string> {
  const real = new NodeClock();
  const host = {
    ...nodeHost(new AbortController().signal),
    clock: { nowMs: () => real.nowMs() * haste, sleep: (ms: number, signal?: AbortSignal) => real.sleep(ms / haste, signal) },
    progress: () => {},
    consoleLog: () => {},
    stateCodec: nodeStateCodec,
    startMachine: startStateMachine,
  };
  return bootAndAsk(host, vmlinuz, tree, store, []).then(
    () => 'it has one',
    (error: Error) => error.message,
  );
}
