/** A machine that goes on from a booted state, or boots, to the root shell at its prompt: for a person or a command at this terminal. */
import { randomBytes } from 'node:crypto';
import { VmError } from '../base/errors.ts';
import { BOOT_COMMAND_LINE, ROOT_TAG, SYSTEM_MEMORY_BYTES } from '../snapshots/builder/root.ts';
import { PromptGate } from '../snapshots/session/prompt-gate.ts';
import { againLine, powerOffLine, promptLine } from '../snapshots/session/prompt-line.ts';
import { endsWithPrompt } from '../snapshots/session/prompt-shown.ts';
import type { KeptState } from '../snapshots/catalogue/kept.ts';
import type { ChunkStore } from '../storage/chunk-store.ts';
import { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../storage/tree.ts';
import type { CompilerWatch } from './compiler-watch.ts';
import { attach, type ConsoleEnd } from './console.ts';
import { EXIT_CLOSED, EXIT_FAILURE, EXIT_OK, EXIT_OURS } from './exit-codes.ts';
import type { Host } from './host.ts';
import type { Sealable } from './keeping.ts';
import type { AwayOptions } from './away/away-machine.ts';
import type { AttachedMachine } from './machine.ts';
import type { Registration } from './machines/registration.ts';
import { printStats, type statsFormat } from './stats.ts';
import { ESCAPE_HINT } from './usage/running.ts';

export interface TryRunOptions {
  readonly command: readonly string[] | undefined;
  readonly memoryBytes: number | undefined;
  readonly append: string | undefined;
  readonly accelerator: string | undefined;
  readonly stats: ReturnType<typeof statsFormat>;
  readonly watch: CompilerWatch;
}

/** What is started: a snapshot's tree, or what a kept machine has left. */
export interface TrySource {
  readonly label: string;
  readonly tree: () => Promise<Tree>;
  /** The tree's contents. */
  readonly store: ChunkStore;
  readonly kernel: { readonly version: string; readonly read: () => Promise<Uint8Array> };
  readonly state: TryState | undefined;
  /** The state is that of a machine that was saved in its session, which goes on. */
  readonly again?: Pick<KeptState, 'nonce' | 'tail'> | undefined;
  /** Why there is no booted state, where a person would ask. */
  readonly why: string | undefined;
  /** Keeps what the machine has left under a name; absent where that cannot be done. */
  readonly keep?: (name: string, root: Sealable, saved?: KeptState) => Promise<void>;
  /** Where a saved state of a machine that is kept lies. */
  readonly statePath: (file: string) => string;
  /** Ends what goes on beside the machine. */
  readonly close?: () => Promise<void>;
}

export interface TryState {
  readonly memoryBytes: number;
  /** The tree that its machine has, where that is not its source's. */
  readonly tree?: () => Promise<Tree>;
  /** Where its file is, or what it consists of where its pages are elsewhere. */
  readonly open: () => Promise<string | Pick<AwayOptions, 'parts' | 'piece'>>;
  /** It could not be used, for that reason. Rejects when its machine is not to be booted instead. */
  readonly unusable: (error: VmError) => Promise<void>;
  /** Brings here what of it is elsewhere. */
  readonly complete?: () => Promise<void>;
}

/** What went wrong when a machine was to be kept is tried again so often, where no person is there to help. */
const KEEP_ATTEMPTS = 6;
const KEEP_AGAIN_MS = 10_000;

/** Time for the guest to see one size before it sees another. */
const REDRAW_MS = 300;

/** What is wrong with a state, and not with the machine. */
const UNUSABLE: readonly string[] = ['bad-state', 'bad-image', 'bad-digest', 'not-found'];

/** Why a state cannot be what a person has asked for. */
export function unfit(
  state: { readonly memoryBytes: number },
  { memoryBytes, append }: Pick<TryRunOptions, 'memoryBytes' | 'append'>,
  what = 'the booted state',
): string | undefined {
  if (append !== undefined) return `${what} knows nothing of --append`;
  if (memoryBytes !== undefined && memoryBytes !== state.memoryBytes) return `${what} has ${state.memoryBytes / 2 ** 20} MiB of memory`;
  return undefined;
}

export class TryRun {
  readonly #host: Host;
  readonly #source: TrySource;
  readonly #options: TryRunOptions;
  readonly #registered: Registration;
  #machine: AttachedMachine | undefined;
  #root!: Sealable;
  #dispose: (() => Promise<void>) | undefined;
  /** Digest of the tree below what it writes. */
  #over = '';
  #gate!: PromptGate;
  #atPrompt = false;
  /** What a person sees is what the machine shows. */
  #begun = false;
  #resumed = false;
  #status: number | undefined;
  #nonce = randomBytes(8).toString('hex');
  #saved: KeptState | undefined;
  readonly #ready: Promise<void>;
  #setReady: () => void = () => {};

  constructor(host: Host, source: TrySource, options: TryRunOptions, registered: Registration) {
    this.#host = host;
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
    const again = resumed ? this.#source.again : undefined;
    if (!this.#atPrompt && !again) messages.transient(resumed ? 'going on from the booted state…' : 'booting…');
    const machine = this.#machine!;
    const size = terminal.size();
    if (resumed && size) machine.resize(size);
    this.#resumed = resumed;
    if (again) this.#goOn(again);
    else if (resumed || this.#atPrompt) this.#typeLine();
    const save = this.#canSave ? { save: () => this.#saveAndEnd(), saveOnSignal: async () => this.#isKept && this.#saveAndEnd() } : {};
    const end = await attach(terminal, machine, { endOfInput: 'eof', signal, ready: this.#ready, ...save });
    messages.clear();
    printStats(messages, machine.stats(), stats);
    if (end.machine.kind === 'failed' && !this.#isKept) throw end.machine.error;
    const keep = this.#registered.keptAs;
    if (keep !== undefined) await this.#keep(keep);
    await this.#dispose?.();
    if (end.machine.kind === 'failed') throw end.machine.error;
    if (this.#saved) return EXIT_OK;
    return this.#exit(end);
  }

  get #isKept(): boolean {
    return this.#registered.keptAs !== undefined;
  }

  /** Nobody could go on with a command. */
  get #canSave(): boolean {
    return this.#source.keep !== undefined && this.#options.command === undefined;
  }

  /** What a machine needs that was saved in the middle of its session. */
  #goOn({ tail }: Pick<KeptState, 'tail'>): void {
    const { terminal, environment, messages } = this.#host;
    const machine = this.#machine!;
    const size = terminal.size();
    if (endsWithPrompt(tail)) {
      const term = terminal.outputIsTerminal ? environment['TERM'] : undefined;
      void machine.input(new TextEncoder().encode(againLine({ nonce: this.#nonce, ...(term !== undefined && { term }) })));
      return;
    }
    this.#begun = true;
    this.#setReady();
    messages.line('it goes on with what it was doing; its clock stood still meanwhile, and hwclock --hctosys sets it');
    terminal.write(Uint8Array.from(tail.slice(tail.lastIndexOf('\n', tail.length - 2) + 1), (char) => char.charCodeAt(0)));
    // Programs that fill the screen draw it anew when its size changes.
    if (size) machine.resize({ ...size, columns: size.columns - 1 });
    if (size) setTimeout(() => machine.resize(size), REDRAW_MS);
  }

  /** False when it could not be saved, and goes on. */
  async #saveAndEnd(): Promise<boolean> {
    try {
      await this.#registered.saveKept();
      return true;
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      // The guest was faster, and is no more.
      if (error.code !== 'cancelled') this.#host.messages.error(`not saved, the machine goes on: ${error.message}`);
      return false;
    }
  }

  /** Gives the state's size. */
  async #save(): Promise<number> {
    const { statePath, state } = this.#source;
    const machine = this.#machine!;
    if (!this.#begun) throw new VmError('unsupported', 'it has not come to its prompt yet: wait for that');
    if (this.#status !== undefined) throw new VmError('cancelled', 'its shell has just ended');
    if (this.#resumed) await state!.complete?.();
    const file = `${randomBytes(8).toString('hex')}.state`;
    const sizeBytes = await machine.save(statePath(file), 'end');
    this.#saved = { file, sizeBytes, memoryBytes: machine.memoryBytes, over: this.#over, nonce: this.#nonce, tail: this.#gate.tail };
    return sizeBytes;
  }

  /** Whether it went on from the booted state. */
  async #start(): Promise<boolean> {
    const { state, label } = this.#source;
    if (state) {
      try {
        await this.#startFrom(state);
        return true;
      } catch (error) {
        if (!(error instanceof VmError) || !UNUSABLE.includes(error.code)) throw error;
        await state.unusable(error);
        this.#host.messages.line(`${label} boots: ${error.message}`);
      }
    }
    await this.#startFrom(undefined);
    return false;
  }

  async #startFrom(state: TryState | undefined): Promise<void> {
    const { terminal, messages, log } = this.#host;
    const { command, memoryBytes, append, accelerator = 'auto', watch } = this.#options;
    const { kernel, store } = this.#source;
    const size = terminal.size();
    const again = state ? this.#source.again : undefined;
    if (again) this.#nonce = again.nonce;
    const tree = await (state?.tree ?? this.#source.tree)();
    this.#over = await tree.digest();
    const from = await state?.open();
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
          if (person && !state && !command) terminal.write(new TextEncoder().encode('\r\x1b[K'));
          this.#begun = true;
          this.#setReady();
        },
        onEnd: (status) => {
          this.#status = status;
          // Without being kept nothing of it stays: there is nothing to shut down.
          if (this.#registered.keptAs === undefined) this.#machine!.stop();
          else void this.#machine!.input(new TextEncoder().encode(powerOffLine(this.#nonce)));
        },
      },
      again && !endsWithPrompt(again.tail) ? 'open' : state ? 'prompt' : 'boot',
    );
    if (again) this.#gate.tail = again.tail;
    const machineOptions = {
      initrds: [],
      commandLine: append === undefined ? BOOT_COMMAND_LINE : `${BOOT_COMMAND_LINE} ${append}`,
      memoryBytes: state?.memoryBytes ?? memoryBytes ?? SYSTEM_MEMORY_BYTES,
      accelerator,
      ...(watch.observer && { compilerObserver: watch.observer }),
      console: 'virtio' as const,
      ...(size && { consoleSize: size }),
      output: (data: Uint8Array) => this.#gate.take(data),
      noReboot: true,
      log,
    };
    if (typeof from === 'object') {
      const root = { tag: ROOT_TAG, tree, store };
      const { symbolsPath } = watch;
      const machine = await this.#host.startAway({ ...machineOptions, ...from, root, ...(symbolsPath !== undefined && { symbolsPath }) });
      this.#root = machine;
      this.#machine = machine;
      this.#dispose = () => machine.dispose();
    } else {
      const root = new TreeFileSystem(tree, store);
      this.#root = root;
      this.#machine = await this.#host.startMachine({
        ...machineOptions,
        // A machine that goes on has its kernel: that of a file would be for a reset, which ends it.
        ...(from === undefined ? { kernel: await kernel.read() } : { restore: { source: from, onlyAsked: true } }),
        fileSystems: [{ tag: ROOT_TAG, backend: root }],
      });
    }
    this.#registered.attach(this.#machine, this.#canSave ? () => this.#save() : undefined);
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
      resumed: this.#resumed,
    });
    void this.#machine!.input(new TextEncoder().encode(line));
  }

  async #keep(name: string): Promise<void> {
    const { messages, signal, clock, terminal } = this.#host;
    const attended = terminal.inputIsTerminal && terminal.outputIsTerminal;
    // A full disk can be helped, and what the machine has written is nowhere else.
    for (let left = attended ? Number.POSITIVE_INFINITY : KEEP_ATTEMPTS; ; left--) {
      try {
        await this.#source.keep!(name, this.#root, this.#saved);
        break;
      } catch (error) {
        if (!(error instanceof VmError)) throw error;
        // Whoever has ended us hears nothing else.
        if (signal.aborted) messages.error(`${name} is not kept: ${error.message}`);
        if (signal.aborted || error.code !== 'host-io' || left <= 1) throw error;
        messages.error(`${name} is not kept yet: ${error.message}; it is tried again, Ctrl-C gives up what it has written`);
        await clock.sleep(KEEP_AGAIN_MS, signal);
      }
    }
    this.#registered.wasKept();
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
