/**
 * The machines that run now, by name: each process has a record `NAME.json` and a control socket in the user's runtime directory. The socket
 * says whether a record still counts: the system closes it with its process, however that ended.
 */
import { randomBytes } from 'node:crypto';
import { VmError } from '../../base/errors.ts';
import type { Files } from '../../platform/files.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import { ask, ControlServer, Gone, SOCKET_PATH_MAX, type Handler } from './control-socket.ts';
import { parseFacts, type Answer, type MachineFacts, type Request } from './protocol.ts';

const SOCKET_NAME = /^[0-9a-f]{16}$/;
const STATUS_MS = 2000;
/** What a process that was killed had only begun to write. */
const LEFTOVER_MS = 60_000;
const NAME_MAX = 56;

export interface RunningMachineEntry {
  readonly facts: MachineFacts;
  /** Its process is there, but does not answer: stopped, or too busy. */
  readonly silent: boolean;
  /** Its control socket. */
  readonly socket: string;
}

/** A name that this process holds, and the socket behind it. */
export interface Claim {
  readonly name: string;
  /** Takes another name, which must be free, and gives this one back. Rejects with VmError `usage` when it is not. */
  rename(name: string): Promise<void>;
  /** Gives the name back, once requests have been answered. Never rejects. */
  release(): Promise<void>;
}

interface RunRecord {
  readonly socket: string;
  readonly facts: MachineFacts;
}

export class MachineRegistry {
  readonly #files: Files;
  readonly #directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /** All that run, in the order in which they were started. Removes what those that were killed have left. */
  async list(): Promise<RunningMachineEntry[]> {
    const names = (await this.#files.list(this.#directory)).filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5));
    const found = (await Promise.all(names.filter(isKeptName).map((name) => this.find(name)))).filter((one) => one !== undefined);
    await this.#sweep(new Set(found.map(({ socket }) => socket)));
    return found.sort((a, b) => a.facts.startedMs - b.facts.startedMs || (a.facts.name < b.facts.name ? -1 : 1));
  }

  /** The machine of that name; a leftover of it is removed. */
  async find(name: string): Promise<RunningMachineEntry | undefined> {
    const record = await this.#read(name);
    if (!record) return undefined;
    const socket = this.#socketPath(record.socket);
    try {
      for await (const answer of ask(socket, { do: 'status' }, STATUS_MS))
        if (answer.kind === 'status') return { facts: { ...answer.facts, name }, silent: false, socket };
    } catch (error) {
      if (error instanceof Gone) {
        await this.#discard(name, record.socket);
        return undefined;
      }
    }
    return { facts: { ...record.facts, name }, silent: true, socket };
  }

  /** Sends a request to a machine. Rejects as `ask`, and with `not-found` when it is gone by now. */
  async *ask(entry: RunningMachineEntry, request: Request, patienceMs: number, signal?: AbortSignal): AsyncGenerator<Answer> {
    try {
      yield* ask(entry.socket, request, patienceMs, signal);
    } catch (error) {
      if (error instanceof Gone) throw new VmError('not-found', `${entry.facts.name} has ended by itself`);
      if (error instanceof VmError) throw new VmError(error.code, `${entry.facts.name} (process ${entry.facts.pid}): ${error.message}`);
      throw error;
    }
  }

  /**
   * Takes a name for a machine of this process: this one, or, when `base` is given, the first free one of `base`, `base-2`, `base-3` that
   * `free` agrees to. Rejects with `usage` when the name is taken, `host-io` or `unsupported` when there can be no socket.
   */
  async claim(
    wanted: { readonly name: string } | { readonly base: string; readonly free: (name: string) => Promise<boolean> },
    facts: Omit<MachineFacts, 'name'>,
    handler: Handler,
  ): Promise<Claim> {
    const socket = randomBytes(8).toString('hex');
    const path = this.#socketPath(socket);
    if (Buffer.byteLength(path) > SOCKET_PATH_MAX)
      throw new VmError('unsupported', `${path}: too long for a socket's path: point XDG_RUNTIME_DIR at a directory with a shorter name`);
    const server = await ControlServer.listen(path, handler).catch((error: Error) => {
      throw new VmError('host-io', `cannot make the socket ${path}: ${error.message}`, error);
    });
    const take = (name: string): Promise<boolean> => this.#take(name, { socket, facts: { ...facts, name } });
    let held: string;
    try {
      held = 'name' in wanted ? wanted.name : await firstFree(wanted.base, async (name) => (await wanted.free(name)) && take(name));
      if ('name' in wanted && !(await take(held))) throw await this.#taken(held);
    } catch (error) {
      await server.close();
      throw error;
    }
    return {
      get name() {
        return held;
      },
      rename: async (name) => {
        if (name === held) return;
        if (!(await take(name))) throw await this.#taken(name);
        await this.#discard(held, socket, false);
        held = name;
      },
      release: async () => {
        await this.#discard(held, socket).catch(() => {});
        await server.close();
      },
    };
  }

  /** False when somebody else has it. */
  async #take(name: string, record: RunRecord): Promise<boolean> {
    const path = this.#recordPath(name);
    const data = new TextEncoder().encode(`${JSON.stringify(record)}\n`);
    for (;;) {
      if (await this.#files.create(path, data, true)) return true;
      if (await this.find(name)) return false;
      // A leftover, gone by now; or something that is no record, which stays.
      if ((await this.#files.info(path)) && !(await this.#read(name))) return false;
    }
  }

  async #taken(name: string): Promise<VmError> {
    const pid = (await this.#read(name))?.facts.pid;
    return new VmError(
      'usage',
      pid === undefined
        ? `${this.#recordPath(name)} is there, and is none of ours: remove it, or take another name`
        : `a machine named ${name} runs already (process ${pid}): take another name, or daybreak stop ${name}`,
    );
  }

  /** Undefined when there is none, or something else. */
  async #read(name: string): Promise<RunRecord | undefined> {
    return parseRecord(await this.#files.read(this.#recordPath(name)));
  }

  /**
   * Removes a record of that socket. Between seeing that it is stale and removing it, its name may have got to somebody else: so it is taken
   * aside first, and put back if it is theirs.
   */
  async #discard(name: string, socket: string, withSocket = true): Promise<void> {
    const path = this.#recordPath(name);
    const aside = `${path}.${randomBytes(4).toString('hex')}.old`;
    if ((await this.#read(name))?.socket === socket) {
      await this.#files.rename(path, aside).catch(() => {});
      const data = await this.#files.read(aside);
      if (data && parseRecord(data)?.socket !== socket) await this.#files.create(path, data, true);
      await this.#files.remove(aside);
    }
    if (withSocket) await this.#files.remove(this.#socketPath(socket));
  }

  /** Removes sockets that no record names and nobody listens at, and files that were only begun. */
  async #sweep(known: ReadonlySet<string>): Promise<void> {
    for (const file of await this.#files.list(this.#directory)) {
      if (!/\.(sock|new|old)$/.test(file)) continue;
      const path = `${this.#directory}/${file}`;
      if (known.has(path)) continue;
      const info = await this.#files.info(path);
      if (info && Date.now() - info.mtimeMs > LEFTOVER_MS && (!file.endsWith('.sock') || (await isGone(path))))
        await this.#files.remove(path);
    }
  }

  #recordPath(name: string): string {
    return `${this.#directory}/${name}.json`;
  }

  #socketPath(socket: string): string {
    return `${this.#directory}/${socket}.sock`;
  }
}

function parseRecord(data: Uint8Array | undefined): RunRecord | undefined {
  try {
    const { socket, facts } = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>;
    const known = parseFacts(facts);
    return typeof socket === 'string' && SOCKET_NAME.test(socket) && known ? { socket, facts: known } : undefined;
  } catch {
    return undefined;
  }
}

async function firstFree(base: string, take: (name: string) => Promise<boolean>): Promise<string> {
  const start = base.slice(0, NAME_MAX);
  for (let n = 1; ; n++) {
    const name = n === 1 ? start : `${start}-${n}`;
    if (await take(name)) return name;
  }
}

async function isGone(path: string): Promise<boolean> {
  try {
    for await (const _ of ask(path, { do: 'status' }, STATUS_MS)) return false;
    return false;
  } catch (error) {
    return error instanceof Gone;
  }
}
