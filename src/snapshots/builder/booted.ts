/**
 * Boots a finished tree to its prompt, saves the machine there, so that whoever tries the snapshot need not boot it, and asks it whether it is
 * well. Then goes on from what was saved, as `try` does, to see that it can be done and which pages of memory it takes: these come first in the state.
 */
import { VmError } from '../../base/errors.ts';
import { orderState, type OrderedState } from '../../machine/saved-state-order.ts';
import { sourceOf, type ByteSource } from '../../machine/saved-state.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../../storage/tree.ts';
import type { Probe } from '../recipe/recipe.ts';
import { PromptGate } from '../session/prompt-gate.ts';
import { promptLine } from '../session/prompt-line.ts';
import { endsWithPrompt } from '../session/prompt-shown.ts';
import { ConsoleTail } from './console-tail.ts';
import { within } from './guest-wait.ts';
import type { BuildHost, BuildMachine, MachineRequest } from './host.ts';
import { askProbes, untilUp, type ProbeResult } from './probe.ts';
import { PromptMachine } from './prompt.ts';
import { BOOT_COMMAND_LINE, ROOT_TAG, SYSTEM_MEMORY_BYTES } from './root.ts';

/** What people may start with: a shell at a terminal, more than once since none is as the other, and a command that a program runs. */
const STARTS = [undefined, undefined, undefined, ['true']] as const;
/** What is run at the prompt before the machine is saved. */
const PREPARATIONS = [
  // Whoever goes on may do so days later: what is due then would all run at once, while somebody waits for the prompt.
  "systemctl stop '*.timer'",
  // What memory holds of files that no program has mapped is in the tree, too, and need not be in the state. What is free then is filled with
  // zeros, which take no room: of large stretches the machine hears from Linux, small ones are what Linux takes first.
  'sync; echo 1 >/proc/sys/vm/drop_caches; head -c 192M /dev/zero >/dev/shm/zeros; rm /dev/shm/zeros',
  // What whoever goes on runs first.
  'date -u; stty -a',
  'history -c; sync',
];
/** Undoes of those what the recipe's probes might miss: timers are wanted by their target. */
const AGAIN = 'systemctl restart timers.target';
const STEPS = 1 + STARTS.length;
/** Behind the prompt: Linux does some things now and then, which come into any start. */
const SETTLE_MS = 4000;
const NONCE = 'f'.repeat(16);

export interface Booted {
  readonly state: OrderedState;
  readonly probes: readonly ProbeResult[];
}

/** One boot, for both: it takes longer than all the rest. `like` is a state whose readers are to find some of it in this one. Rejects with a VmError when the tree comes to no prompt, or a probe fails. */
export async function bootAndAsk(
  host: BuildHost,
  kernel: Uint8Array,
  tree: Tree,
  store: ChunkStore,
  probes: readonly Probe[],
  like?: ByteSource,
): Promise<Booted> {
  const machine = await PromptMachine.start(host, kernel, tree, store);
  let data: Uint8Array;
  const results: ProbeResult[] = [];
  try {
    results.push(await untilUp(machine));
    for (const command of PREPARATIONS) await machine.run(command);
    await machine.untilPrompt();
    data = await machine.state();
    if (probes.length > 0) await machine.run(AGAIN);
    results.push(...(await askProbes(host, machine, probes)));
  } finally {
    await machine.stop();
  }
  return { state: await orderByStarts(host, tree, store, data, like), probes: results };
}

/** The same state with those pages first that a machine needs to start. */
async function orderByStarts(
  host: BuildHost,
  tree: Tree,
  store: ChunkStore,
  data: Uint8Array,
  like: ByteSource | undefined,
): Promise<OrderedState> {
  const source = sourceOf('the booted state', data);
  const pages = new Set<number>();
  for (const [done, command] of STARTS.entries()) {
    host.progress({ step: 'booted state', done: done + 1, total: STEPS, unit: 'items' });
    await goOn(host, tree, store, source, command, (page) => pages.add(page));
  }
  const ordered = orderState(source, [...pages], await host.stateCodec(), like);
  host.progress({ step: 'booted state', done: STEPS, total: STEPS, unit: 'items' });
  return ordered;
}

/** Does what `try` does until its shell waits, or its command has ended. `onPage` is told of every page that it needs. */
async function goOn(
  host: BuildHost,
  tree: Tree,
  store: ChunkStore,
  source: ByteSource,
  command: readonly string[] | undefined,
  onPage: (page: number) => void,
): Promise<void> {
  const tail = new ConsoleTail();
  let over = (): void => {};
  const done = new Promise<void>((resolve) => (over = resolve));
  let shown = '';
  const gate = new PromptGate(
    {
      show(data) {
        shown = (shown + String.fromCharCode(...data)).slice(-200);
        if (!command && endsWithPrompt(shown)) over();
      },
      nonce: NONCE,
      showBoot: false,
      onPrompt: () => {},
      onBegin: () => {},
      onEnd: () => over(),
    },
    'prompt',
  );
  const machine = await resume(host, tree, store, { source, onPage }, (data) => {
    host.consoleLog(data.slice());
    tail.take(data);
    gate.take(data);
  });
  try {
    machine.resize({ columns: 80, rows: 24 });
    const line = promptLine({
      nonce: NONCE,
      ...(command ? { command } : { term: 'xterm-256color' }),
      plain: command !== undefined,
      resumed: true,
    });
    void machine.input(new TextEncoder().encode(line));
    await within(host, machine, tail, { wanted: "its shell's answer after it went on from its booted state", failsAtRest: true }, done);
    await host.clock.sleep(SETTLE_MS, host.signal);
  } finally {
    machine.stop();
    await machine.ended;
  }
}

function resume(
  host: BuildHost,
  tree: Tree,
  store: ChunkStore,
  restore: NonNullable<MachineRequest['restore']>,
  output: (data: Uint8Array) => void,
): Promise<BuildMachine> {
  return host.startMachine({
    restore,
    initrds: [],
    commandLine: BOOT_COMMAND_LINE,
    memoryBytes: SYSTEM_MEMORY_BYTES,
    fileSystems: [{ tag: ROOT_TAG, backend: new TreeFileSystem(tree, store) }],
    ...(host.accelerator !== undefined && { accelerator: host.accelerator }),
    console: 'virtio',
    output,
    noReboot: true,
    log: host.log,
  });
}

/** Why a machine of this Daybreak on this computer cannot go on from the state in that file; undefined when it can. */
export async function unfitHere(host: BuildHost, tree: Tree, store: ChunkStore, path: string): Promise<string | undefined> {
  try {
    const machine = await resume(host, tree, store, { source: path, onlyAsked: true }, () => {});
    machine.stop();
    await machine.ended;
    return undefined;
  } catch (error) {
    if (error instanceof VmError && (error.code === 'bad-state' || error.code === 'unsupported')) return error.message;
    throw error;
  }
}
