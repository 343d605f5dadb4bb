/**
 * One publisher at a time: a file that says who is at work. It is renewed while work goes on; one that is not renewed, or whose process was one of
 * this computer's and is over, is nobody's.
 */
import { VmError } from '../../base/errors.ts';
import type { WallClock } from '../../platform/clock.ts';
import type { Processes } from '../../platform/processes.ts';
import type { Storage } from './storage.ts';

const PATH = 'publishing.lock';
/** Twice as long as any single step takes, on a slow line too. */
const STALE_MS = 10 * 60_000;

export interface LockHost {
  readonly clock: WallClock;
  readonly processes: Processes;
}

export class PublishingLock {
  readonly #storage: Storage;
  readonly #host: LockHost;
  readonly #id: string;
  #renewedMs: number;

  private constructor(storage: Storage, host: LockHost, id: string) {
    this.#storage = storage;
    this.#host = host;
    this.#id = id;
    this.#renewedMs = host.clock.nowMs();
  }

  static async take(storage: Storage, host: LockHost): Promise<PublishingLock> {
    const lock = new PublishingLock(storage, host, crypto.randomUUID());
    for (let attempt = 0; attempt < 2; attempt++) {
      if (await storage.create(PATH, lock.#content())) return lock;
      const other = await readLock(storage);
      if (other && host.clock.nowMs() - other.timeMs < STALE_MS && !(await host.processes.isOver(other.process))) break;
      await storage.remove(PATH);
    }
    throw new VmError(
      'host-io',
      `${storage.name}: another publisher is at work there. Wait for it; if it was killed on another computer, its lock ends by itself ${STALE_MS / 60_000} minutes after its last step (or remove ${PATH})`,
    );
  }

  /** Says that work goes on. Rejects when somebody else has taken over: then nothing must be changed any more. */
  async renew(): Promise<void> {
    const now = this.#host.clock.nowMs();
    if (now - this.#renewedMs < STALE_MS / 10) return;
    await this.check();
    await this.#storage.write(PATH, this.#content());
    this.#renewedMs = now;
  }

  async check(): Promise<void> {
    if ((await readLock(this.#storage))?.id === this.#id) return;
    throw new VmError(
      'host-io',
      `${this.#storage.name}: another publisher has taken over, since this one stood still for too long: run it again`,
    );
  }

  async release(): Promise<void> {
    if ((await readLock(this.#storage))?.id === this.#id) await this.#storage.remove(PATH);
  }

  #content(): Uint8Array {
    return new TextEncoder().encode(
      `${JSON.stringify({ id: this.#id, timeMs: this.#host.clock.nowMs(), process: this.#host.processes.own })}\n`,
    );
  }
}

async function readLock(storage: Storage): Promise<{ id: string; timeMs: number; process: string } | undefined> {
  const data = await storage.read(PATH);
  if (!data) return undefined;
  try {
    const { id, timeMs, process } = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>;
    return typeof id === 'string' && typeof timeMs === 'number' ? { id, timeMs, process: String(process) } : undefined;
  } catch {
    return undefined;
  }
}
