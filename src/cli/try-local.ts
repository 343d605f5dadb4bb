/** `daybreak try` of a snapshot on this computer: a machine that goes on from the booted state, or boots, over its tree. */
import { randomBytes } from 'node:crypto';
import { VmError } from '../base/errors.ts';
import { BOOT_COMMAND_LINE, ROOT_TAG, SYSTEM_MEMORY_BYTES } from '../snapshots/builder/root.ts';
import type { BootedState } from '../snapshots/catalogue/booted.ts';
import type { Catalogue, SnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { Kept } from '../snapshots/catalogue/kept.ts';
import { PromptGate } from '../snapshots/session/prompt-gate.ts';
import { powerOffLine, promptLine } from '../snapshots/session/prompt-line.ts';
import { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import type { CompilerWatch } from './compiler-watch.ts';
import { attach, type ConsoleEnd } from './console.ts';
import { EXIT_CLOSED, EXIT_FAILURE, EXIT_OK, EXIT_OURS } from './exit-codes.ts';
import type { Host } from './host.ts';
import type { MachineOptions, RunningMachine } from './machine.ts';
import { Registration } from './machines/registration.ts';
import { printStats, type statsFormat } from './stats.ts';
import { ESCAPE_HINT } from './usage/running.ts';

export interface TryLocalOptions {
  readonly name: SnapshotName;
  readonly command: readonly string[] | undefined;
  /** Boot, though there is a booted state. */
  readonly cold: boolean;
  /** Go on with the machine kept under this name, and keep it. */
  readonly keep: string | undefined;
  /** `--name`. */
  readonly machine: string | undefined;
  readonly memoryBytes: number | undefined;
  readonly append: string | undefined;
  readonly accelerator: string | undefined;
  readonly stats: ReturnType<typeof statsFormat>;
  readonly watch: CompilerWatch;
}

/** What is started: a snapshot's tree, or what a kept machine has left. */
interface Source {
  readonly label: string;
  readonly tree: string;
  readonly kernel: { readonly digest: string; readonly version: string };
  readonly from: Kept['from'];
  readonly booted: BootedState | undefined;
  /** Why there is no booted state, where a person would ask. */
  readonly why: string | undefined;
}

export async function tryLocal(host: Host, catalogue: Catalogue, options: TryLocalOptions): Promise<number> {
  const source = await sourceOf(catalogue, options);
  const { from } = source;
  const of = `${from.name}@${from.day}`;
  const registered = await Registration.open(host, { verb: 'try', of, base: from.name, name: options.machine, keep: options.keep }, true);
  try {
    // Who waited for the name may find that its machine has written more.
    const now = options.keep === undefined ? source : await sourceOf(catalogue, options);
    return await new TryRun(host, catalogue, now, options, registered).run();
  } finally {
    await registered.close();
  }
}

async function sourceOf(catalogue: Catalogue, options: TryLocalOptions): Promise<Source> {
  const { name, keep } = options;
  const kept = keep === undefined ? undefined : await catalogue.kept(keep);
  if (kept) {
    const { from, tree, kernel } = kept;
    const asked = name.day === 'latest' ? from.day : (await catalogue.find(name)).day;
    if (from.name !== name.name || from.day !== asked)
      throw new VmError('usage', `--keep ${keep}: that machine is of ${from.name}@${from.day}: daybreak try ${from.name} --keep ${keep}`);
    return { label: `${keep}, of ${from.name}@${from.day}`, tree, kernel, from, booted: undefined, why: undefined };
  }
  const snapshot = await catalogue.find(name);
  const { day, tree, kernel } = snapshot;
  const found = options.cold ? undefined : await catalogue.booted(snapshot);
  const why = options.cold ? undefined : found ? unfit(found, options) : `it has no booted state (daybreak build ${name.name} makes one)`;
  const label = `${snapshot.name}@${day}`;
  return { label, tree, kernel, from: { name: snapshot.name, day }, booted: why === undefined ? found : undefined, why };
}

/** Why a state cannot be what a person has asked for. */
function unfit(booted: BootedState, { memoryBytes, append }: TryLocalOptions): string | undefined {
  if (append !== undefined) return 'the booted state knows nothing of --append';
  if (memoryBytes !== undefined && memoryBytes !== booted.memoryBytes)
    return `the booted state has ${booted.memoryBytes / 2 ** 20} MiB of memory`;
  return undefined;
}

class TryRun {
  readonly #host: Host;
  readonly #catalogue: Catalogue;
  readonly #source: Source;
  readonly #options: TryLocalOptions;
  readonly #registered: Registration;
  #machine: RunningMachine | undefined;
  #root!: TreeFileSystem;
  #gate!: PromptGate;
  #atPrompt = false;
  #status: number | undefined;
  readonly #nonce = randomBytes(8).toString('hex');
  readonly #ready: Promise<void>;
  #setReady: () => void = () => {};

  constructor(host: Host, catalogue: Catalogue, source: Source, options: TryLocalOptions, registered: Registration) {
    this.#host = host;
    this.#catalogue = catalogue;
    this.#source = source;
    this.#options = options;
    this.#registered = registered;
    this.#ready = new Promise((resolve) => (this.#setReady = resolve));
  }

  async run(): Promise<number> {
    const { terminal, messages, signal } = this.#host;
    const { command, stats } = this.#options;
    const { label, kernel, why } = this.#source;
    if (why !== undefined) messages.line(`${label} boots: ${why}`);
    const resumed = await this.#start();
    if (!command) messages.line(`${label}, Linux ${kernel.version}; exit leaves, ${ESCAPE_HINT}`);
    if (!this.#atPrompt) messages.transient(resumed ? 'going on from the booted state…' : 'booting…');
    const machine = this.#machine!;
    const size = terminal.size();
    if (resumed && size) machine.resize(size);
    if (resumed || this.#atPrompt) this.#typeLine();
    const end = await attach(terminal, machine, { endOfInput: 'eof', signal, ready: this.#ready });
    messages.clear();
    printStats(messages, machine.stats(), stats);
    if (end.machine.kind === 'failed') throw end.machine.error;
    const keep = this.#registered.keptAs;
    if (keep !== undefined) await this.#keep(keep);
    return this.#exit(end);
  }

  /** Whether it went on from the booted state. */
  async #start(): Promise<boolean> {
    const { booted, label } = this.#source;
    if (booted) {
      try {
        await this.#startFrom(booted);
        return true;
      } catch (error) {
        if (!(error instanceof VmError) || error.code !== 'bad-state') throw error;
        // Damaged, it is taken away, and the next build makes it again.
        await this.#catalogue.store.get(booted.state).catch(() => {});
        this.#host.messages.line(`${label} boots: ${error.message}`);
      }
    }
    await this.#startFrom(undefined);
    return false;
  }

  async #startFrom(booted: BootedState | undefined): Promise<void> {
    const { terminal, messages, log } = this.#host;
    const { command, memoryBytes, append, accelerator = 'auto', watch } = this.#options;
    const { store } = this.#catalogue;
    const { tree, kernel, label } = this.#source;
    const size = terminal.size();
    this.#root = new TreeFileSystem(await this.#catalogue.treeOf(label, tree), store);
    const person = terminal.inputIsTerminal && terminal.outputIsTerminal;
    this.#gate = new PromptGate(
      {
        show: (data) => {
          messages.clear();
          terminal.write(data);
        },
        nonce: this.#nonce,
        showBoot: person && !command,
        onPrompt: () => {
          this.#atPrompt = true;
          if (this.#machine) this.#typeLine();
        },
        onBegin: () => {
          messages.clear();
          if (person && !booted && !command) terminal.write(new TextEncoder().encode('\r\x1b[K'));
          this.#setReady();
        },
        onEnd: (status) => {
          this.#status = status;
          // Without being kept nothing of it stays: there is nothing to shut down.
          if (this.#registered.keptAs === undefined) this.#machine!.stop();
          else void this.#machine!.input(new TextEncoder().encode(powerOffLine(this.#nonce)));
        },
      },
      booted ? 'prompt' : 'boot',
    );
    const machineOptions: MachineOptions = {
      // A machine that goes on has its kernel: that of a file would be for a reset, which ends it.
      ...(booted ? { restore: { source: store.pathOf(booted.state), onlyAsked: true } } : { kernel: await store.get(kernel.digest) }),
      initrds: [],
      commandLine: append === undefined ? BOOT_COMMAND_LINE : `${BOOT_COMMAND_LINE} ${append}`,
      memoryBytes: booted?.memoryBytes ?? memoryBytes ?? SYSTEM_MEMORY_BYTES,
      accelerator,
      ...(watch.observer && { compilerObserver: watch.observer }),
      fileSystems: [{ tag: ROOT_TAG, backend: this.#root }],
      console: 'virtio',
      ...(size && { consoleSize: size }),
      output: (data) => this.#gate.take(data),
      noReboot: true,
      log,
    };
    this.#machine = await this.#host.startMachine(machineOptions);
    this.#registered.attach(this.#machine);
  }

  #typeLine(): void {
    const { terminal, environment } = this.#host;
    const { command } = this.#options;
    const term = terminal.outputIsTerminal ? environment['TERM'] : undefined;
    const line = promptLine({
      nonce: this.#nonce,
      ...(command && { command }),
      ...(term !== undefined && { term }),
      plain: !(terminal.inputIsTerminal && terminal.outputIsTerminal),
    });
    void this.#machine!.input(new TextEncoder().encode(line));
  }

  async #keep(name: string): Promise<void> {
    const { from, kernel } = this.#source;
    const { store } = this.#catalogue;
    const tree = await this.#catalogue.putTree(await this.#root.seal(store));
    await this.#catalogue.keep(name, { format: 1, from, tree, kernel });
    this.#registered.wasKept();
    this.#host.messages.line(`kept as ${name}: daybreak try ${from.name} --keep ${name} goes on with it`);
  }

  #exit({ machine, by }: ConsoleEnd): number {
    const { command } = this.#options;
    if (by === 'closed') return EXIT_CLOSED;
    if (this.#status !== undefined) return this.#status;
    if (machine.kind === 'stopped') return command ? EXIT_OURS : EXIT_OK;
    if (machine.kind === 'poweroff' && !command) return EXIT_OK;
    const last = this.#gate.tail.trimEnd().split('\n').slice(-15).join('\n');
    this.#host.messages.error(
      `the machine ended (${machine.kind}) without telling how its ${command ? 'command' : 'shell'} ended; its last words:\n${last}`,
    );
    return command ? EXIT_OURS : EXIT_FAILURE;
  }
}
