/** Runs a build's machine: gives it the unpacked tree, watches what it reports, and takes the tree that it leaves. */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../../storage/tree.ts';
import { KERNEL_COMMAND_LINE } from '../debian/kernel-command-line.ts';
import { ROOT_OPTIONS, ROOT_TAG } from './root.ts';
import { ConsoleTail } from './console-tail.ts';
import { BUILD_DIRECTORY, BUILD_SCRIPT } from './guest-script.ts';
import type { BuildHost, BuildMachine } from './host.ts';

/** Room for the largest package's scripts. */
const MEMORY_BYTES = 2 ** 30;
/** A package's script that takes so long without a word has hung. */
const SILENCE_MS = 30 * 60_000;
const CHECK_MS = 10_000;

export interface GuestBuild {
  readonly kernel: Uint8Array;
  /** With packages unpacked; the build's own files are added here. */
  readonly tree: Tree;
  readonly store: ChunkStore;
  readonly preinsts: readonly { readonly info: string; readonly package: string }[];
  readonly triggers: readonly string[];
  /** How many packages are to be configured, for the progress. */
  readonly packageCount: number;
  readonly commands: readonly string[];
  /** Seconds since 1970: the guest's date, and SOURCE_DATE_EPOCH. */
  readonly time: number;
}

/** The tree as the machine leaves it. Rejects with a VmError that names the package or command that failed, and its last words. */
export async function buildInGuest(host: BuildHost, build: GuestBuild): Promise<Tree> {
  const root = new TreeFileSystem(await withBuildFiles(build), build.store);
  const report = new Report(host, build.packageCount);
  const tail = new ConsoleTail();
  const machine = await host.startMachine({
    kernel: build.kernel,
    initrds: [],
    fileSystems: [{ tag: ROOT_TAG, backend: root }],
    commandLine: `${KERNEL_COMMAND_LINE} ${ROOT_OPTIONS} init=/${BUILD_DIRECTORY}/init`,
    memoryBytes: MEMORY_BYTES,
    ...(host.accelerator !== undefined && { accelerator: host.accelerator }),
    console: 'virtio',
    output: (data) => {
      report.heard();
      host.consoleLog(data.slice());
      tail.take(data);
    },
    control: (line) => report.take(line),
    noReboot: true,
    log: host.log,
  });
  const end = await untilItEnds(host, machine, report);
  if (end.kind === 'failed') throw end.error;
  host.signal?.throwIfAborted();
  const failure = report.failure(tail);
  if (failure !== undefined) throw new VmError('bad-image', failure);
  if (report.status !== 0) {
    throw new VmError('bad-image', `the machine that builds ended (${end.kind}) before it was done; its last words:\n${tail.last(15)}`);
  }
  return root.seal(build.store);
}

async function untilItEnds(host: BuildHost, machine: BuildMachine, report: Report): BuildMachine['ended'] {
  const over = new AbortController();
  const stop = () => machine.stop();
  host.signal?.addEventListener('abort', stop, { once: true });
  if (host.signal?.aborted) stop();
  const watch = async () => {
    while (!over.signal.aborted) {
      await host.clock.sleep(CHECK_MS, over.signal);
      if (!over.signal.aborted && report.silentMs() > SILENCE_MS) {
        report.gaveUp = true;
        stop();
      }
    }
  };
  const watching = watch();
  try {
    return await machine.ended;
  } finally {
    over.abort();
    await watching;
    host.signal?.removeEventListener('abort', stop);
  }
}

/** The unpacked tree with process 1, its files, and the device nodes that the kernel opens for it. */
async function withBuildFiles({ tree, store, preinsts, triggers, commands, time }: GuestBuild): Promise<Tree> {
  const builder = new TreeBuilder(time);
  const where = 'build files';
  for (const [path, node] of tree.entries()) builder.add(path, node, where);
  const put = async (name: string, content: string, mode = 0o644) => {
    const data = new TextEncoder().encode(content);
    const digest = await store.put(data);
    builder.add(`${BUILD_DIRECTORY}/${name}`, { type: 'file', mode, uid: 0, gid: 0, mtime: time, digest, sizeBytes: data.length }, where);
  };
  const environment: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    USER: 'root',
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
    TERM: 'dumb',
    DEBIAN_FRONTEND: 'noninteractive',
    DEBCONF_NONINTERACTIVE_SEEN: 'true',
    DEBCONF_NOWARNINGS: 'yes',
    DPKG_COLORS: 'never',
    // What makes the same bytes of the same inputs: reproducible-builds.org, perlrun(1), python(1).
    SOURCE_DATE_EPOCH: String(time),
    PERL_HASH_SEED: '0',
    PYTHONHASHSEED: '0',
  };
  await put(
    'environment',
    Object.entries(environment)
      .map(([key, value]) => `export ${key}='${value}'\n`)
      .join(''),
  );
  await put('init', BUILD_SCRIPT, 0o755);
  await put('preinsts', preinsts.map((one) => `${one.info} ${one.package}\n`).join(''));
  await put('triggers', triggers.map((name) => `${name}\n`).join(''));
  for (const [index, command] of commands.entries()) await put(`commands/${String(index).padStart(4, '0')}`, `${command}\n`);
  const own = { uid: 0, gid: 0, mtime: time };
  builder.add('dev/console', { type: 'char', ...own, mode: 0o600, major: 5, minor: 1 }, where);
  builder.add('dev/null', { type: 'char', ...own, mode: 0o666, major: 1, minor: 3 }, where);
  for (const name of ['proc', 'sys', 'run', 'root', 'tmp']) {
    builder.add(name, { type: 'directory', ...own, mode: name === 'tmp' ? 0o1777 : 0o755 }, where);
  }
  return builder.build();
}

/** What the machine says on its control port. */
class Report {
  readonly #host: BuildHost;
  readonly #total: number;
  readonly #configured = new Set<string>();
  readonly #errors = new Map<string, string>();
  #heardMs: number;
  #failed: string | undefined;
  status: number | undefined;
  gaveUp = false;

  constructor(host: BuildHost, total: number) {
    this.#host = host;
    this.#total = total;
    this.#heardMs = host.clock.nowMs();
  }

  heard(): void {
    this.#heardMs = this.#host.clock.nowMs();
  }

  silentMs(): number {
    return this.#host.clock.nowMs() - this.#heardMs;
  }

  take(line: string): void {
    this.heard();
    const exit = /^exit (\d{1,3})$/.exec(line);
    if (exit) this.status = Number(exit[1]);
    if (line.startsWith('failed ')) this.#failed = line.slice(7);
    const [, name, what, message] = /^status: ([^\s:]+)(?::\w+)?\s*: ([\w-]+)(?: : (.*))?$/.exec(line) ?? [];
    if (name === undefined) return;
    // Once more after its triggers.
    if (what === 'installed' && !this.#configured.has(name)) {
      this.#configured.add(name);
      const done = Math.min(this.#configured.size, this.#total);
      this.#host.progress({ step: 'configuring', done, total: this.#total, unit: 'items' });
    }
    if (what === 'error') this.#errors.set(name, message ?? '');
  }

  /** What went wrong, for a person; undefined when nothing did. */
  failure(tail: ConsoleTail): string | undefined {
    if (this.gaveUp)
      return `the machine that builds has said nothing for ${SILENCE_MS / 60_000} minutes and was stopped; its last words:\n${tail.last(15)}`;
    if (this.#failed === undefined) return undefined;
    const [what, name, status] = this.#failed.split(' ');
    switch (what) {
      case 'preinst':
        return `the package ${name} failed before it was configured (preinst); its last words:\n${tail.since(`Preparing ${name} `, 15)}`;
      case 'command':
        return `the recipe's command ${Number(name) + 1} ended with status ${status}; its last words:\n${tail.last(15)}`;
      case 'configure':
      case 'triggers': {
        // One that only waits for another says so; the other is what went wrong.
        const own = [...this.#errors].filter(([, message]) => !message.includes('dependency problems'));
        const named = (own.length > 0 ? own : [...this.#errors]).map(([one, message]) => {
          return `the package ${one} could not be configured: ${message}; its last words:\n${tail.since(`Setting up ${one} `, 15)}`;
        });
        return named.length > 0 ? named.join('\n') : `dpkg could not configure the packages; its last words:\n${tail.last(15)}`;
      }
      default:
        return `the build failed at ${this.#failed}; its last words:\n${tail.last(15)}`;
    }
  }
}
