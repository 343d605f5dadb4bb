/**
 * Waits for what comes over a network that may stand still: says so after some seconds, tries again until it comes, and ends at once when
 * nobody wants it any more.
 */
import { VmError } from '../base/errors.ts';
import type { ChunkStore } from '../storage/chunk-store.ts';
import type { Host } from './host.ts';

/** A person wonders by then. */
const NOTICE_MS = 5000;
const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [1000, 10_000];
/** Pauses where no person looks on: a program should hear of it in the end. */
const UNATTENDED_MS = 60_000;

type Waiting = Pick<Host, 'messages' | 'clock' | 'signal' | 'terminal'>;

/** Contents that are waited for. */
export class PatientStore implements ChunkStore {
  readonly #store: ChunkStore;
  readonly #patience: Patience;

  constructor(store: ChunkStore, patience: Patience) {
    this.#store = store;
    this.#patience = patience;
  }

  has(digest: string): Promise<boolean> {
    return this.#store.has(digest);
  }

  get(digest: string): Promise<Uint8Array> {
    return this.#patience.for(() => this.#store.get(digest));
  }

  put(data: Uint8Array): Promise<string> {
    return this.#store.put(data);
  }
}

export class Patience {
  readonly #host: Waiting;
  readonly #place: string;
  readonly #over = new AbortController();
  #waiting = 0;
  #told = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param place what is waited for, for people */
  constructor(host: Waiting, place: string) {
    this.#host = host;
    this.#place = place;
    const end = (): void => this.#over.abort();
    host.signal.addEventListener('abort', end, { once: true });
    if (host.signal.aborted) end();
  }

  /** What comes of `work`, which may be called again when it rejects with `network`. */
  async for<T>(work: () => Promise<T>): Promise<T> {
    const { clock } = this.#host;
    let pausedMs = 0;
    this.#begin();
    try {
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
        try {
          const result = await this.#orStopped(work);
          this.#came();
          return result;
        } catch (error) {
          if (!(error instanceof VmError) || error.code !== 'network' || this.#over.signal.aborted) throw error;
          if (!this.#isAttended && pausedMs > UNATTENDED_MS) throw error;
          this.#tell(error.message);
          await clock.sleep(pauseMs, this.#over.signal);
          pausedMs += pauseMs;
        }
      }
    } finally {
      this.#end();
    }
  }

  /** Who is stopped meanwhile does not wait for an answer; what begins later, to be kept for instance, has one try. */
  async #orStopped<T>(work: () => Promise<T>): Promise<T> {
    const { signal } = this.#over;
    if (signal.aborted) return work();
    let stop!: () => void;
    const stopped = new Promise<never>((_, reject) => {
      stop = () => reject(new VmError('cancelled', `stopped while waiting for ${this.#place}`));
      signal.addEventListener('abort', stop, { once: true });
    });
    return Promise.race([work(), stopped]).finally(() => signal.removeEventListener('abort', stop));
  }

  /** Tries once more at most, from now on. */
  close(): void {
    this.#over.abort();
    clearTimeout(this.#timer);
  }

  get #isAttended(): boolean {
    const { inputIsTerminal, outputIsTerminal } = this.#host.terminal;
    return inputIsTerminal && outputIsTerminal;
  }

  #begin(): void {
    if (this.#waiting++ > 0) return;
    this.#timer = setTimeout(() => this.#tell('it does not answer'), NOTICE_MS);
    this.#timer.unref?.();
  }

  #end(): void {
    if (--this.#waiting === 0) clearTimeout(this.#timer);
  }

  #tell(why: string): void {
    if (this.#told || this.#over.signal.aborted) return;
    this.#told = true;
    this.#host.messages.line(`waiting for ${this.#place}: ${why}; what it has goes on when it comes`);
  }

  #came(): void {
    if (!this.#told) return;
    this.#told = false;
    this.#host.messages.line(`${this.#place} answers again`);
  }
}
