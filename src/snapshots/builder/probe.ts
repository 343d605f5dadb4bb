/** Boots a finished tree to its prompt and asks it whether it is well: no failed units, and what the recipe's probes want. */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../../storage/tree.ts';
import { KERNEL_COMMAND_LINE } from '../debian/prepare.ts';
import type { Probe } from '../recipe/recipe.ts';
import { ConsoleTail } from './console-tail.ts';
import type { BuildHost, BuildMachine } from './host.ts';
import { ROOT_OPTIONS, ROOT_TAG } from './root.ts';

/** Every snapshot's first probe. */
const NO_FAILED_UNITS: Probe = { run: 'systemctl --failed --no-legend --plain', status: 0 };
const SYSTEMD = '/usr/lib/systemd/systemd';
const MEMORY_BYTES = 2 ** 30;
/** Nothing takes so long, on any host, but what hangs. */
const PROBE_MS = 30 * 60_000;
const OUTPUT_MAX = 1 << 20;
/** Bytes that nobody types and that a terminal does not echo: what stands between them is a command's output. */
const [BEGIN, END] = ['\x1d', '\x1e'];

export interface ProbeResult {
  readonly run: string;
  readonly passed: true;
}

/** Rejects with a VmError that says which probe failed and what the machine printed. */
export async function probeTree(
  host: BuildHost,
  kernel: Uint8Array,
  tree: Tree,
  store: ChunkStore,
  probes: readonly Probe[],
): Promise<ProbeResult[]> {
  const tail = new ConsoleTail();
  const prompt = new Prompt();
  const machine = await host.startMachine({
    kernel,
    initrds: [],
    fileSystems: [{ tag: ROOT_TAG, backend: new TreeFileSystem(tree, store) }],
    commandLine: `${KERNEL_COMMAND_LINE} ${ROOT_OPTIONS} init=${SYSTEMD} systemd.show_status=0`,
    memoryBytes: MEMORY_BYTES,
    ...(host.accelerator !== undefined && { accelerator: host.accelerator }),
    console: 'virtio',
    // Wide, so that a shell does not break its lines.
    consoleSize: { columns: 4000, rows: 50 },
    output: (data) => {
      host.consoleLog(data.slice());
      tail.take(data);
      prompt.take(data);
    },
    noReboot: true,
    log: host.log,
  });
  const session = new Session(host, machine, prompt, tail);
  try {
    await session.untilPrompt();
    const all = [NO_FAILED_UNITS, ...probes];
    await session.run('systemctl is-system-running --wait');
    for (const [index, probe] of all.entries()) {
      host.progress({ step: 'probes', done: index, total: all.length, unit: 'items' });
      check(probe, await session.run(probe.run));
    }
    host.progress({ step: 'probes', done: all.length, total: all.length, unit: 'items' });
    return all.map(({ run }) => ({ run, passed: true }));
  } finally {
    machine.stop();
    await machine.ended;
  }
}

interface Answer {
  readonly output: string;
  readonly status: number;
}

function check(probe: Probe, { output, status }: Answer): void {
  const shown = output.trim() === '' ? 'it printed nothing' : `it printed:\n${output.trimEnd().slice(-2000).replace(/^/gm, '  ')}`;
  if (probe === NO_FAILED_UNITS && output.trim() !== '')
    throw new VmError('bad-image', `the tree boots, but units of it fail:\n${output.trimEnd().replace(/^/gm, '  ')}`);
  if (status !== probe.status)
    throw new VmError('bad-image', `the probe ${JSON.stringify(probe.run)} ended with status ${status}, not ${probe.status}; ${shown}`);
  if (probe.expect !== undefined && !output.includes(probe.expect))
    throw new VmError('bad-image', `the probe ${JSON.stringify(probe.run)} did not print ${JSON.stringify(probe.expect)}; ${shown}`);
}

/** A shell on the other side of a machine's console. */
class Session {
  readonly #host: BuildHost;
  readonly #machine: BuildMachine;
  readonly #prompt: Prompt;
  readonly #tail: ConsoleTail;

  constructor(host: BuildHost, machine: BuildMachine, prompt: Prompt, tail: ConsoleTail) {
    this.#host = host;
    this.#machine = machine;
    this.#prompt = prompt;
    this.#tail = tail;
  }

  untilPrompt(): Promise<void> {
    return this.#within('it came to no prompt', this.#prompt.shown()).then(() => {});
  }

  async run(command: string): Promise<Answer> {
    const answer = this.#prompt.answer();
    const line = `printf '\\035'; { ${command}\n} 2>&1 </dev/null; printf '\\036%d\\n' $?\n`;
    void this.#machine.input(new TextEncoder().encode(line));
    return this.#within(`the probe ${JSON.stringify(command)} did not end`, answer);
  }

  async #within<T>(what: string, work: Promise<T>): Promise<T> {
    const over = new AbortController();
    const stop = () => over.abort();
    this.#host.signal?.addEventListener('abort', stop, { once: true });
    try {
      const ended = this.#machine.ended.then((end) => {
        if (end.kind === 'failed') throw end.error;
        throw new VmError('bad-image', `the machine ended (${end.kind}): ${what}; its last words:\n${this.#tail.last(15)}`);
      });
      const late = this.#host.clock.sleep(PROBE_MS, over.signal).then(() => {
        this.#host.signal?.throwIfAborted();
        if (over.signal.aborted) return new Promise<never>(() => {});
        throw new VmError('bad-image', `${what} within ${PROBE_MS / 60_000} minutes; the machine's last words:\n${this.#tail.last(15)}`);
      });
      return await Promise.race([work, ended, late]);
    } finally {
      this.#host.signal?.removeEventListener('abort', stop);
      over.abort();
    }
  }
}

/** Watches what a console prints for a root shell's prompt, and for a command's output. */
class Prompt {
  readonly #decoder = new TextDecoder();
  #text = '';
  #waiting: (() => void)[] = [];

  take(data: Uint8Array): void {
    this.#text = (this.#text + this.#decoder.decode(data.slice(), { stream: true })).slice(-OUTPUT_MAX);
    for (const check of [...this.#waiting]) check();
  }

  shown(): Promise<void> {
    // oxlint-disable-next-line no-control-regex
    return this.#until(() => (this.#text.replace(/\x1b\[[?\d;]*[a-zA-Z]/g, '').endsWith('# ') ? true : undefined)).then(() => {});
  }

  answer(): Promise<Answer> {
    this.#text = '';
    return this.#until(() => {
      const begin = this.#text.indexOf(BEGIN!);
      const end = this.#text.indexOf(END!, begin + 1);
      const status = begin < 0 || end < 0 ? undefined : /^(\d{1,3})\r?\n/.exec(this.#text.slice(end + 1))?.[1];
      if (status === undefined) return undefined;
      return { output: plain(this.#text.slice(begin + 1, end)), status: Number(status) };
    });
  }

  #until<T>(find: () => T | undefined): Promise<T> {
    return new Promise((resolve) => {
      const check = () => {
        const found = find();
        if (found === undefined) return;
        this.#waiting = this.#waiting.filter((one) => one !== check);
        resolve(found);
      };
      this.#waiting.push(check);
      check();
    });
  }
}

/** What a program prints for a terminal only is not its answer: CSI and OSC sequences of ECMA-48, and carriage returns. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/\x1b\[[?\d;]*[a-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r/g, '');
}
