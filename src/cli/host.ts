/** What the command line takes from this process and hands on: nothing below it looks at `process`. */
import { homedir } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Log } from '../base/log.ts';
import { NodeClock } from '../node/clock.ts';
import { NodeFetch } from '../node/fetch.ts';
import { NodeFiles } from '../node/files.ts';
import { diagnoseKvm, type KvmReport } from '../node/kvm/diagnose.ts';
import { openRuntimeDirectory } from '../node/runtime-directory.ts';
import { NodeTerminal } from '../node/terminal.ts';
import type { WallClock } from '../platform/clock.ts';
import type { Fetch } from '../platform/fetch.ts';
import type { Files } from '../platform/files.ts';
import type { Terminal } from '../platform/terminal.ts';
import { DEBIAN_ARCHIVE_KEYS } from '../snapshots/debian/keys/archive-keys.ts';
import type { RegistryCredentials } from '../snapshots/registry/authorization.ts';
import type { StartAway } from './away/away-machine.ts';
import type { StartMachine } from './machine.ts';
import { Messages } from './messages.ts';
import { nodeCredentials } from './node-credentials.ts';

export interface Host {
  readonly files: Files;
  readonly fetch: Fetch;
  readonly clock: WallClock;
  readonly terminal: Terminal;
  readonly messages: Messages;
  readonly log: Log;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** XDG_CACHE_HOME/daybreak: can be made again. */
  readonly cacheDirectory: string;
  /** XDG_DATA_HOME/daybreak: snapshots that were built here. */
  readonly dataDirectory: string;
  /** XDG_STATE_HOME/daybreak: what we remember. */
  readonly stateDirectory: string;
  /** Makes XDG_RUNTIME_DIR/daybreak, or what stands in for it, and gives its path: where running machines are found. */
  readonly runtimeDirectory: () => Promise<string>;
  /** Armoured OpenPGP keys that may sign Debian's archive, besides those of this system. */
  readonly archiveKeys: string;
  readonly startMachine: StartMachine;
  /** One that goes on from a state whose pages are elsewhere. */
  readonly startAway: StartAway;
  readonly diagnoseKvm: () => Promise<KvmReport>;
  /** What is known for a container registry. */
  readonly registryCredentials: (registry: string) => Promise<RegistryCredentials | undefined>;
  /** The built page (dist/web). */
  readonly pageDirectory: string;
  /** The recipes that come with the product. */
  readonly recipeDirectory: string;
  /** Aborted by SIGINT, SIGTERM, SIGHUP; `reason` is the signal's name. */
  readonly signal: AbortSignal;
}

/** Contents that were fetched for machines, and that no snapshot of this computer has. */
export function fetchedContents(cacheDirectory: string): string {
  return `${cacheDirectory}/contents`;
}

/** XDG Base Directory Specification: a relative path in the variable is to be ignored. */
export function xdgDirectory(value: string | undefined, fallback: string): string {
  return `${value?.startsWith('/') || /^[A-Za-z]:[\\/]/.test(value ?? '') ? value : fallback}/daybreak`;
}

export function nodeHost(signal: AbortSignal): Host {
  const { env } = process;
  const messages = new Messages(process.stderr, env);
  const files = new NodeFiles();
  const cacheDirectory = xdgDirectory(env['XDG_CACHE_HOME'], `${homedir()}/.cache`);
  return {
    files,
    fetch: new NodeFetch({ environment: env }),
    clock: new NodeClock(),
    terminal: new NodeTerminal(),
    messages,
    log: (level, component, text) => messages.log(level, component, text),
    environment: env,
    cacheDirectory,
    dataDirectory: xdgDirectory(env['XDG_DATA_HOME'], `${homedir()}/.local/share`),
    stateDirectory: xdgDirectory(env['XDG_STATE_HOME'], `${homedir()}/.local/state`),
    runtimeDirectory: () => openRuntimeDirectory(env),
    archiveKeys: DEBIAN_ARCHIVE_KEYS,
    startMachine: async (options) => (await import('./machine.ts')).startMachine(options),
    startAway: async (options) => (await import('./away/away-machine.ts')).startAway(options),
    diagnoseKvm: () => diagnoseKvm(),
    registryCredentials: nodeCredentials(files, env),
    pageDirectory: fileURLToPath(new URL('web', import.meta.url)),
    recipeDirectory: fileURLToPath(new URL('../recipes', import.meta.url)),
    signal,
  };
}
