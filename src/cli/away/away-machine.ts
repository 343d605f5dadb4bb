/**
 * A machine in a thread of its own, since it stands still while it waits for a page of its memory that has to be fetched. Its terminal,
 * signals and requests, and the fetching, are here, where nothing waits: whatever the network does, the machine can be stopped at once.
 */
import { Worker } from 'node:worker_threads';
import { VmError } from '../../base/errors.ts';
import type { Accelerator, VCpuCounts } from '../../machine/vcpu.ts';
import type { TerminalSize } from '../../platform/terminal.ts';
import type { StateParts } from '../../snapshots/get/published-state.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { decodeTree } from '../../storage/tree-text.ts';
import type { Tree } from '../../storage/tree.ts';
import { sha256 } from '../../base/sha256.ts';
import type { Sealable } from '../keeping.ts';
import type { AttachedMachine, MachineEnd, MachineOptions } from '../machine.ts';
import { answerFailed, answerPage } from './page-answer.ts';
import { endOf, errorOf, Pending, plainError, type FromMachine, type ThreadData, type ToMachine } from './protocol.ts';

/** A machine that waits for a page does not answer. */
const PRESS_MS = 1000;
/** Of a thread that ended without a word. */
const NOTHING_DONE: VCpuCounts = { instructions: 0, interpreted: 0, compiled: 0, decoded: 0, tlbMisses: 0, invalidations: 0, exits: {} };
const THREAD = new URL('machine-thread.js', import.meta.url);

export interface AwayOptions extends Omit<MachineOptions, 'kernel' | 'restore' | 'fileSystems' | 'disks' | 'directories'> {
  readonly memoryBytes: number;
  readonly root: { readonly tag: string; readonly tree: Tree; readonly store: ChunkStore };
  readonly parts: StateParts;
  /** A piece of the state that is not here. */
  readonly piece: (digest: string) => Promise<Uint8Array>;
  readonly symbolsPath?: string;
}

export interface AwayMachine extends AttachedMachine, Sealable {
  /** Its thread ends; to be called when it has ended, and is not to be sealed any more. */
  dispose(): Promise<void>;
}

/** Rejects as `StartMachine` does. */
export type StartAway = (options: AwayOptions) => Promise<AwayMachine>;

export async function startAway(options: AwayOptions, thread: URL = THREAD): Promise<AwayMachine> {
  const { root, parts, compilerObserver, symbolsPath } = options;
  const { initrds, commandLine, memoryBytes, accelerator, console, consoleSize, noReboot } = options;
  const workerData: ThreadData = {
    options: {
      initrds,
      commandLine,
      memoryBytes,
      ...(accelerator !== undefined && { accelerator }),
      console,
      ...(consoleSize && { consoleSize }),
      ...(noReboot !== undefined && { noReboot }),
    },
    root: { tag: root.tag, treeText: root.tree.encode(), treeDigest: await root.tree.digest() },
    state: parts,
    watched: compilerObserver !== undefined,
    ...(symbolsPath !== undefined && { symbolsPath }),
  };
  // Descriptors of KVM are opened and closed by its own calls.
  const machine = new ThreadMachine(options, new Worker(thread, { workerData, trackUnmanagedFds: false }));
  try {
    await machine.started;
  } catch (error) {
    await machine.dispose();
    throw error;
  }
  return machine;
}

class ThreadMachine implements AwayMachine {
  readonly #options: AwayOptions;
  readonly #worker: Worker;
  readonly #pending = new Pending();
  readonly started: Promise<void>;
  readonly ended: Promise<MachineEnd>;
  #setStarted!: () => void;
  #failStart!: (error: Error) => void;
  #setEnded!: (end: MachineEnd) => void;
  #waitingBytes = 0;
  #stopping = false;
  /** Takes what is put. */
  #sealTo: ChunkStore | undefined;
  /** What its thread stands still for. */
  #page: SharedArrayBuffer | undefined;
  #stats: VCpuCounts | undefined;
  accelerator: Accelerator['name'] = 'jit';
  memoryBytes: number;

  constructor(options: AwayOptions, worker: Worker) {
    this.#options = options;
    this.#worker = worker;
    this.memoryBytes = options.memoryBytes;
    this.started = new Promise((resolve, reject) => ([this.#setStarted, this.#failStart] = [resolve, reject]));
    this.ended = new Promise((resolve) => (this.#setEnded = resolve));
    worker.on('message', (message: FromMachine) => this.#take(message));
    worker.on('error', (error) => this.#over(error));
    worker.on('exit', () => this.#over(new Error('the thread of the machine has ended')));
  }

  input(data: Uint8Array): Promise<void> {
    this.#waitingBytes += data.length;
    return this.#ask<void>((id) => this.#send({ do: 'input', id, data: data.slice() }))
      .then(() => void (this.#waitingBytes -= data.length))
      .catch(() => {});
  }

  waiting(): number {
    return this.#waitingBytes;
  }

  resize(size: TerminalSize): void {
    this.#send({ do: 'resize', size });
  }

  stop(): void {
    this.#stopping = true;
    this.#send({ do: 'stop' });
    if (this.#page) answerFailed(this.#page, new VmError('cancelled', 'it is stopped'));
  }

  pressPowerButton(): Promise<boolean> {
    const answer = this.#ask<boolean>((id) => this.#send({ do: 'press', id })).catch(() => false);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, PRESS_MS, false)));
    return Promise.race([answer, late, this.ended.then(() => false)]).finally(() => clearTimeout(timer));
  }

  stats(): VCpuCounts {
    return this.#stats ?? NOTHING_DONE;
  }

  save(path: string, then: 'go on' | 'end'): Promise<number> {
    return this.#ask((id) => this.#send({ do: 'save', id, path, ends: then === 'end' }));
  }

  async seal(store: ChunkStore): Promise<Tree> {
    this.#sealTo = store;
    const text = await this.#ask<string>((id) => this.#send({ do: 'seal', id }));
    return decodeTree('what the machine has left', text, await sha256(new TextEncoder().encode(text)));
  }

  async dispose(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask<T>(send: (id: number) => void): Promise<T> {
    return this.#pending.ask<T>(send);
  }

  #send(message: ToMachine): void {
    this.#worker.postMessage(message, []);
  }

  #take(message: FromMachine): void {
    const { output, log, compilerObserver, root, piece } = this.#options;
    switch (message.kind) {
      case 'started':
        this.accelerator = message.accelerator;
        this.memoryBytes = message.memoryBytes;
        return this.#setStarted();
      case 'failed':
        return this.#over(errorOf(message.error));
      case 'output':
        return output(message.data);
      case 'log':
        return log(message.level, message.component, message.message);
      case 'compiler':
        return compilerObserver?.onEvent?.(message.event);
      case 'answer':
        return this.#pending.answer(message.id, message.value);
      case 'refuse':
        return this.#pending.refuse(message.id, message.error);
      case 'content':
        return this.#give(message.id, root.store.get(message.digest));
      case 'put':
        return this.#give(message.id, this.#sealTo!.put(message.data));
      case 'page':
        return void this.#bring(message.piece.digest, message.answer, piece);
      case 'ended': {
        this.#stats = message.stats;
        const end = endOf(message.end);
        // Whoever stops it while it waits for a page makes that fail.
        this.#setEnded(this.#stopping && end.kind === 'failed' ? { kind: 'stopped' } : end);
      }
    }
  }

  #give(id: number, work: Promise<unknown>): void {
    void work.then(
      (value) => this.#send({ do: 'answer', id, value }),
      (error: unknown) => this.#send({ do: 'refuse', id, error: plainError(error) }),
    );
  }

  async #bring(digest: string, answer: SharedArrayBuffer, piece: AwayOptions['piece']): Promise<void> {
    this.#page = answer;
    if (this.#stopping) return answerFailed(answer, new VmError('cancelled', 'it is stopped'));
    try {
      answerPage(answer, await piece(digest));
    } catch (error) {
      answerFailed(answer, error);
    } finally {
      if (this.#page === answer) this.#page = undefined;
    }
  }

  #over(error: Error): void {
    this.#failStart(error);
    this.#setEnded({ kind: 'failed', error });
    this.#pending.refuseAll(plainError(error));
  }
}
