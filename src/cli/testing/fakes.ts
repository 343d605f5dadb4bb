/** A terminal, a host and a machine for tests of the command line. */
import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { openRuntimeDirectory } from '../../node/runtime-directory.ts';
import type { Disposable } from '../../base/disposable.ts';
import { countsOf } from '../../machine/testing/counts.ts';
import type { Terminal, TerminalInput, TerminalSize } from '../../platform/terminal.ts';
import { DEBIAN_ARCHIVE_KEYS } from '../../snapshots/debian/keys/archive-keys.ts';
import { PieceSource } from '../../snapshots/get/published-state.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { Host } from '../host.ts';
import type { StartAway } from '../away/away-machine.ts';
import type { MachineEnd, MachineOptions, RunningMachine, StartMachine } from '../machine.ts';
import { Messages } from '../messages.ts';

/** No pause between attempts lasts so long. */
const LONG_MS = 60_000;

export class FakeTerminal implements Terminal {
  inputIsTerminal = false;
  outputIsTerminal = false;
  output = '';
  paused = false;
  /** How often raw mode was entered and left. */
  rawEntered = 0;
  rawLeft = 0;
  #size: TerminalSize | undefined;
  #input: { listener: (data: Uint8Array) => void; end: () => void } | undefined;
  #resize: ((size: TerminalSize) => void) | undefined;
  #closed: (() => void) | undefined;

  get attached(): boolean {
    return this.#input !== undefined;
  }

  type(text: string): void {
    this.#input?.listener(new TextEncoder().encode(text));
  }

  endInput(): void {
    this.#input?.end();
  }

  resizeTo(size: TerminalSize): void {
    this.#size = size;
    this.#resize?.(size);
  }

  closeOutput(): void {
    this.#closed?.();
  }

  size(): TerminalSize | undefined {
    return this.#size;
  }

  onResize(listener: (size: TerminalSize) => void): Disposable {
    this.#resize = listener;
    return { dispose: () => (this.#resize = undefined) };
  }

  raw(): Disposable {
    this.rawEntered++;
    return { dispose: () => this.rawLeft++ };
  }

  onInput(listener: (data: Uint8Array) => void, end: () => void): TerminalInput {
    this.#input = { listener, end };
    return {
      pause: () => void (this.paused = true),
      resume: () => void (this.paused = false),
      dispose: () => (this.#input = undefined),
    };
  }

  write(data: Uint8Array): void {
    this.output += new TextDecoder().decode(data);
  }

  async drained(): Promise<void> {}

  onClosed(listener: () => void): Disposable {
    this.#closed = listener;
    return { dispose: () => (this.#closed = undefined) };
  }
}

export class FakeMachine implements RunningMachine {
  readonly options: MachineOptions;
  typed = '';
  /** Bytes that still wait: a guest that does not read. */
  untaken = 0;
  #take: (() => void) | undefined;
  readonly sizes: TerminalSize[] = [];
  readonly ended: Promise<MachineEnd>;
  #end: (end: MachineEnd) => void = () => {};

  constructor(options: MachineOptions) {
    this.options = options;
    this.memoryBytes = options.memoryBytes ?? 0;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  input(data: Uint8Array): Promise<void> {
    this.typed += new TextDecoder().decode(data);
    return this.untaken === 0 ? Promise.resolve() : new Promise((resolve) => (this.#take = resolve));
  }

  waiting(): number {
    return this.untaken;
  }

  readonly accelerator = 'jit';
  readonly memoryBytes: number;
  /** How often the power button was pressed. */
  pressed = 0;
  /** What the guest does then; undefined: it does not listen. */
  onPowerButton: (() => void) | undefined;

  async pressPowerButton(): Promise<boolean> {
    this.pressed++;
    this.onPowerButton?.();
    return this.onPowerButton !== undefined;
  }

  /** Where it was saved to. */
  readonly saved: string[] = [];
  /** What saving fails with. */
  saveError: Error | undefined;

  async save(path: string, then: 'go on' | 'end'): Promise<number> {
    if (this.saveError) throw this.saveError;
    this.saved.push(path);
    if (then === 'end') this.end({ kind: 'stopped' });
    return 1234567;
  }

  async state(): Promise<Uint8Array> {
    this.end({ kind: 'stopped' });
    return new TextEncoder().encode('a state');
  }

  /** The guest reads all that waits. */
  take(): void {
    this.untaken = 0;
    this.#take?.();
  }

  resize(size: TerminalSize): void {
    this.sizes.push(size);
  }

  stop(): void {
    this.#end({ kind: 'stopped' });
  }

  stats() {
    return countsOf(7);
  }

  /** The guest prints. */
  print(text: string): void {
    this.options.output(Buffer.from(text));
  }

  end(end: MachineEnd): void {
    this.#end(end);
  }
}

/** Standard error of a test. */
export class FakeStream {
  isTTY = false;
  columns = 100;
  text = '';

  write(text: string): void {
    this.text += text;
  }

  on(): void {}
}

export interface TestHost {
  readonly host: Host;
  readonly terminal: FakeTerminal;
  readonly errors: FakeStream;
  readonly abort: AbortController;
}

/** A machine whose thread is this one. */
export function awayBy(startMachine: StartMachine): StartAway {
  return async ({ root, parts, ...options }) => {
    const backend = new TreeFileSystem(root.tree, root.store);
    const source = new PieceSource(parts, () => {
      throw new Error('no page is asked for here');
    });
    const machine = await startMachine({ ...options, restore: { source, onlyAsked: true }, fileSystems: [{ tag: root.tag, backend }] });
    return Object.assign(machine, { seal: (store: ChunkStore) => backend.seal(store), dispose: async () => {} });
  };
}

/** Pauses are over at once; what waits so long that something else must come first waits for that. */
function sleep(ms: number, aborted?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // Whoever waits again and again lets others have their turn.
    if (ms < LONG_MS || aborted?.aborted) setTimeout(resolve, 0);
    else aborted?.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** A host whose machines do as `script` says. */
export function testHost(
  directory: string,
  script: (machine: FakeMachine) => void = () => {},
  archiveKeys = DEBIAN_ARCHIVE_KEYS,
): TestHost {
  const terminal = new FakeTerminal();
  const errors = new FakeStream();
  const abort = new AbortController();
  const messages = new Messages(errors, {});
  const host: Host = {
    files: new NodeFiles(),
    fetch: new NodeFetch(),
    clock: { nowMs: () => Date.parse('2026-11-02T00:00:00Z'), sleep },
    terminal,
    messages,
    log: (level, component, text) => messages.log(level, component, text),
    environment: { TERM: 'xterm' },
    cacheDirectory: `${directory}/cache`,
    dataDirectory: `${directory}/data`,
    stateDirectory: `${directory}/state`,
    runtimeDirectory: () => openRuntimeDirectory({ XDG_RUNTIME_DIR: directory }),
    archiveKeys,
    startMachine: async (options) => {
      const machine = new FakeMachine(options);
      setTimeout(() => script(machine), 0);
      return machine;
    },
    startAway: (options) => awayBy(host.startMachine)(options),
    diagnoseKvm: async () => ({ works: false, findings: [{ what: 'a thing', works: false }], problem: 'it is broken', remedy: 'mend it' }),
    registryCredentials: async () => undefined,
    pageDirectory: directory,
    recipeDirectory: fileURLToPath(new URL('../../../recipes', import.meta.url)),
    signal: abort.signal,
  };
  return { host, terminal, errors, abort };
}
