/** The built `daybreak`, in processes that are killed at random steps, and what must be true whatever was killed. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { seededRandom } from '../../src/machine/testing/random.ts';

/** How often each test kills; DAYBREAK_KILLS asks for more. */
export const KILLS = Number(process.env['DAYBREAK_KILLS'] ?? 80);
/** DAYBREAK_KILL_SEED chooses others. */
export const random = (): ((bound: number) => number) => seededRandom(Number(process.env['DAYBREAK_KILL_SEED'] ?? 1));

const DAYBREAK = fileURLToPath(new URL('../../dist/daybreak.js', import.meta.url));
const KILLER = new URL('kill-at-step.mjs', import.meta.url).href;
/** A directory in memory, where there is one: a disk's own time for each of some ten thousand files tells nothing here. */
export function scratch(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'daybreak-killed-'));
}

/** A step of a file takes up to a few of these; longer ones are hit anywhere. */
const STEP_US = 400;

export interface Ran {
  /** Undefined when it was killed. */
  readonly status: number | undefined;
  readonly errors: string;
}

/** Runs `daybreak`, or another program, with all that is a person's own in `home`. */
export class Killable {
  readonly #environment: Record<string, string>;
  readonly #home: string;
  readonly #program: string;
  readonly #random: (bound: number) => number;
  /** The most that a run of each kind has had. */
  readonly #steps = new Map<string, number>();
  /** Of `daybreak`. */
  readonly dataDirectory: string;

  constructor(home: string, below: (bound: number) => number, more: Record<string, string> = {}, program = DAYBREAK) {
    this.#home = home;
    this.#program = program;
    this.#random = below;
    this.dataDirectory = join(home, 'data/daybreak');
    for (const name of ['data', 'cache', 'state', 'run', 'home', 'tmp', 'here'])
      mkdirSync(join(home, name), { recursive: true, mode: 0o700 });
    writeFileSync(join(home, 'precious'), 'not ours');
    this.#environment = {
      PATH: process.env['PATH'] ?? '',
      NO_COLOR: '1',
      HOME: join(home, 'home'),
      TMPDIR: join(home, 'tmp'),
      XDG_DATA_HOME: join(home, 'data'),
      XDG_CACHE_HOME: join(home, 'cache'),
      XDG_STATE_HOME: join(home, 'state'),
      XDG_RUNTIME_DIR: join(home, 'run'),
      ...more,
    };
  }

  /** To its end. */
  run(...args: string[]): Promise<Ran> {
    return this.#spawn(args, 0);
  }

  /** Kills it at some step, unless it ends before. */
  runAndKill(...args: string[]): Promise<Ran> {
    return this.#spawn(args, 1 + this.#random(this.#steps.get(kindOf(args)) ?? 20));
  }

  /** Kills it when `due` resolves, unless it ends before. */
  runUntil(due: Promise<void>, ...args: string[]): Promise<Ran> {
    return this.#spawn(args, 0, due);
  }

  /** What is not its own is as it was. */
  expectNothingElse(): void {
    expect(readFileSync(join(this.#home, 'precious'), 'utf8')).toBe('not ours');
    for (const name of ['home', 'tmp', 'here', 'run']) expect(readdirSync(join(this.#home, name))).toEqual([]);
    for (const name of ['data', 'cache', 'state']) {
      expect(readdirSync(join(this.#home, name)).filter((one) => one !== 'daybreak')).toEqual([]);
    }
  }

  async #spawn(args: readonly string[], killAt: number, due?: Promise<void>): Promise<Ran> {
    const child = spawn(process.execPath, ['--import', KILLER, this.#program, ...args], {
      cwd: join(this.#home, 'here'),
      env: { ...this.#environment, KILL_AT: String(killAt), KILL_AFTER_US: String(this.#random(STEP_US)) },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    void due?.then(() => child.kill('SIGKILL'));
    const [errors, steps] = [textOf(child.stdio[2]), textOf(child.stdio[3])];
    const status = await new Promise<number | undefined>((done, failed) => {
      child.on('error', failed);
      child.on('close', (code) => done(code ?? undefined));
    });
    this.#steps.set(kindOf(args), Math.max(this.#steps.get(kindOf(args)) ?? 1, Number(await steps)));
    return { status, errors: await errors };
  }
}

/** A verb, and what it is done to: runs of one kind have about as many steps. */
function kindOf(args: readonly string[]): string {
  return args
    .slice(0, 2)
    .filter((word) => !word.includes('/'))
    .join(' ');
}

async function textOf(stream: NodeJS.ReadableStream | unknown): Promise<string> {
  let text = '';
  for await (const part of stream as AsyncIterable<Buffer>) text += part.toString();
  return text;
}

/** Files below a directory, with their paths in it; none where there is no such directory. */
export function filesIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}
