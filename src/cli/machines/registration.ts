/** A machine that a verb runs, as others of the user's processes see it: `ps` shows it, `stop` and `keep` reach it. */
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmError } from '../../base/errors.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import type { Host } from '../host.ts';
import type { AttachedMachine } from '../machine.ts';
import type { Answer, MachineFacts, Request } from './protocol.ts';
import { MachineRegistry, type Claim } from './registry.ts';

/** A guest that does not listen to its power button may still be starting: it is asked again so often. */
const PRESS_AGAIN_MS = 500;
/** One that listens may have lost it, because what acts on it was not there yet. */
const PRESS_LISTENING_AGAIN_MS = 5000;
/** Of a machine that is thrown away nothing is lost: whether its guest may still begin to listen is not waited for. */
const THROW_AWAY_MS = 2000;

export interface Registering {
  readonly verb: MachineFacts['verb'];
  /** What runs, for people. */
  readonly of: string;
  /** What the machine is called when nobody has said it: a free name that begins so. */
  readonly base: string;
  /** `--name`. */
  readonly name: string | undefined;
  /** The name it is kept under. */
  readonly keep?: string | undefined;
}

/** How a machine came to its end. */
interface Over {
  readonly how: string;
  readonly kept: boolean;
}

export class Registration {
  readonly #host: Host;
  readonly #canKeep: boolean;
  readonly #startedMs: number;
  readonly #what: Registering;
  #claim: Claim | undefined;
  #machine: AttachedMachine | undefined;
  #saveKept: (() => Promise<number>) | undefined;
  #kept: boolean;
  #forced = false;
  #over: Over = { how: 'failed', kept: false };
  readonly #attached = later<AttachedMachine | undefined>();
  readonly #ended = later<Over>();

  private constructor(host: Host, what: Registering, canKeep: boolean) {
    this.#host = host;
    this.#what = what;
    this.#canKeep = canKeep;
    this.#kept = what.keep !== undefined;
    this.#startedMs = host.clock.nowMs();
  }

  /**
   * Takes the machine's name. Rejects with VmError `usage` when that is taken. Where there can be no socket, it says so, and the machine runs
   * without being seen.
   * @param canKeep whether what it writes can be kept
   */
  static async open(host: Host, what: Registering, canKeep = false): Promise<Registration> {
    const { name, keep, base } = what;
    const one = new Registration(host, what, canKeep);
    const kept = new Set(await new Catalogue(host.files, host.dataDirectory).keptNames());
    if (name !== undefined && kept.has(name))
      throw new VmError('usage', `--name ${name}: a kept machine has that name; daybreak rm ${name} removes it`);
    const given = keep ?? name;
    try {
      const registry = new MachineRegistry(host.files, await host.runtimeDirectory());
      one.#claim = await registry.claim(
        given === undefined ? { base: nameOf(base), free: async (free) => !kept.has(free) } : { name: given },
        one.#facts(),
        (request, answer) => one.#answer(request, answer),
      );
    } catch (error) {
      if (!(error instanceof VmError) || error.code === 'usage') throw error;
      host.messages.log('warn', 'ps', `daybreak ps will not show this machine: ${error.message}`);
    }
    return one;
  }

  /** The name that it is kept under when it ends, which may have been asked for while it ran. */
  get keptAs(): string | undefined {
    return this.#kept ? (this.#claim?.name ?? this.#what.keep) : undefined;
  }

  /**
   * The machine has started.
   * @param saveKept saves its state as that of a kept machine, ends it, and gives the state's size
   */
  attach(machine: AttachedMachine, saveKept?: () => Promise<number>): void {
    this.#machine = machine;
    this.#saveKept = saveKept;
    this.#attached.resolve(machine);
    void machine.ended.then(({ kind }) => (this.#over = { ...this.#over, how: kind }));
  }

  /** What it has written is in the catalogue. */
  wasKept(): void {
    this.#over = { ...this.#over, kept: true };
  }

  /** To be called when all is over, whatever happened: answers those who wait for it, and gives the name back. Never rejects. */
  async close(): Promise<void> {
    this.#attached.resolve(undefined);
    this.#ended.resolve(this.#over);
    await this.#claim?.release();
  }

  #facts(): Omit<MachineFacts, 'name'> {
    const { verb, of } = this.#what;
    const { accelerator, memoryBytes } = this.#machine ?? {};
    return {
      pid: process.pid,
      verb,
      of,
      startedMs: this.#startedMs,
      ...(accelerator !== undefined && { accelerator }),
      ...(memoryBytes !== undefined && { memoryBytes }),
      kept: this.#kept,
    };
  }

  async #answer(request: Request, answer: (one: Answer) => void): Promise<void> {
    switch (request.do) {
      case 'status':
        answer({ kind: 'status', facts: this.#named() });
        return;
      case 'keep':
        await this.#keep(request.as);
        answer({ kind: 'kept', facts: this.#named() });
        return;
      case 'save':
        answer({ kind: 'saved', sizeBytes: await this.#save(request.path) });
        break;
      case 'stop':
        await this.#stop(request.timeoutMs, answer);
    }
    const { how, kept } = await this.#ended.promise;
    answer({ kind: 'ended', how, kept, forced: this.#forced });
  }

  #named(): MachineFacts {
    return { ...this.#facts(), name: this.#claim?.name ?? this.#what.base };
  }

  async #keep(as: string): Promise<void> {
    const { name } = this.#named();
    if (this.#kept) throw new VmError('usage', `${name} is kept already`);
    if (!this.#canKeep)
      throw new VmError(
        'unsupported',
        this.#what.verb === 'boot'
          ? `${name} is a machine of "daybreak boot", whose disks are yours: there is nothing to keep`
          : `${name} is not of a snapshot of this computer, and what it writes cannot be kept: build or pull the snapshot, and try that`,
      );
    if (await this.#machineOver()) throw new VmError('cancelled', `${name} has just ended`);
    if (await new Catalogue(this.#host.files, this.#host.dataDirectory).kept(as))
      throw new VmError('usage', `there is a kept machine ${as} already: daybreak keep ${name} OTHER-NAME, or daybreak rm ${as} first`);
    await this.#claim?.rename(as);
    this.#kept = true;
  }

  async #machineOver(): Promise<boolean> {
    const machine = await this.#attached.promise;
    return machine === undefined || (await Promise.race([machine.ended.then(() => true), sleep(0, false)]));
  }

  /** Saves the machine where it is kept, which it is from now on, and ends it. Rejects when that cannot be, and it goes on. */
  async saveKept(): Promise<number> {
    const { name } = this.#named();
    const machine = await this.#attached.promise;
    if (!machine) throw new VmError('cancelled', `${name} has just ended`);
    if (!this.#canKeep || !this.#saveKept)
      throw new VmError(
        'unsupported',
        `${name} cannot be saved: it has no root shell that somebody could go on with (a command, or a system that came to none)`,
      );
    if (!this.#kept) await this.#keep(name);
    return this.#saveKept();
  }

  async #save(path: string | undefined): Promise<number> {
    const { name } = this.#named();
    if (this.#what.verb !== 'boot') {
      if (path !== undefined)
        throw new VmError('usage', `${name} is not saved to a file, but kept under its name: daybreak stop ${name} --save`);
      return this.saveKept();
    }
    if (path === undefined)
      throw new VmError(
        'usage',
        `${name} is a machine of "daybreak boot": name the file to save it to (daybreak stop ${name} --save FILE)`,
      );
    const machine = await this.#attached.promise;
    if (!machine) throw new VmError('cancelled', `${name} has just ended`);
    return machine.save(path, 'end');
  }

  async #stop(timeoutMs: number, answer: (one: Answer) => void): Promise<void> {
    const machine = await this.#attached.promise;
    if (!machine) return;
    const { messages } = this.#host;
    messages.line(timeoutMs === 0 ? 'daybreak stop ends the machine' : 'daybreak stop asks the guest to power off');
    const over = machine.ended.then(() => true);
    const began = performance.now();
    const throwAway = this.#what.verb === 'try' && !this.#kept;
    let told: boolean | undefined;
    for (;;) {
      const patienceMs = throwAway && !told ? Math.min(timeoutMs, THROW_AWAY_MS) : timeoutMs;
      const left = began + patienceMs - performance.now();
      if (left <= 0) break;
      const listens = await machine.pressPowerButton();
      if (told === undefined || (listens && !told)) answer({ kind: 'pressed', listens: (told = listens) });
      const pause = sleep(Math.min(left, listens ? PRESS_LISTENING_AGAIN_MS : PRESS_AGAIN_MS), false, { ref: false });
      if (await Promise.race([over, pause])) return;
    }
    this.#forced = true;
    machine.stop();
  }
}

/** `--name`, where it was given. Throws VmError `usage`. */
export function machineName(value: string | undefined): string | undefined {
  if (value !== undefined && !isKeptName(value))
    throw new VmError('usage', `--name ${value}: expected a name of small letters, digits, ".", "-" and "_"`);
  return value;
}

/** A machine's name made of something else's. */
function nameOf(text: string): string {
  const name = basename(text.replace(/\//g, '-'))
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '');
  return name.slice(0, 40) || 'machine';
}

function later<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}
