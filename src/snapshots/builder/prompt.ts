/** A machine with a finished tree as its root, and the root shell at its prompt. */
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../../storage/tree.ts';
import { endsWithPrompt } from '../session/prompt-shown.ts';
import { ConsoleTail, plain } from './console-tail.ts';
import { inEmergency, within, type GuestWait } from './guest-wait.ts';
import type { BuildHost, BuildMachine } from './host.ts';
import { BOOT_COMMAND_LINE, ROOT_TAG, SYSTEM_MEMORY_BYTES } from './root.ts';

const OUTPUT_MAX = 1 << 20;
/** Bytes that nobody types and that a terminal does not echo: what stands between them is a command's output. */
const [BEGIN, END] = ['\x1d', '\x1e'];

export interface Answer {
  readonly output: string;
  readonly status: number;
}

/** A shell on the other side of a machine's console. Whatever takes too long, ends the machine or leaves it at rest rejects with a VmError that has its last words. */
export class PromptMachine {
  readonly #host: BuildHost;
  readonly #machine: BuildMachine;
  readonly #prompt: Prompt;
  readonly #tail: ConsoleTail;

  private constructor(host: BuildHost, machine: BuildMachine, prompt: Prompt, tail: ConsoleTail) {
    this.#host = host;
    this.#machine = machine;
    this.#prompt = prompt;
    this.#tail = tail;
  }

  static async start(host: BuildHost, kernel: Uint8Array, tree: Tree, store: ChunkStore): Promise<PromptMachine> {
    const [tail, prompt] = [new ConsoleTail(), new Prompt()];
    const machine = await host.startMachine({
      kernel,
      initrds: [],
      fileSystems: [{ tag: ROOT_TAG, backend: new TreeFileSystem(tree, store) }],
      commandLine: BOOT_COMMAND_LINE,
      memoryBytes: SYSTEM_MEMORY_BYTES,
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
    return new PromptMachine(host, machine, prompt, tail);
  }

  async untilPrompt(): Promise<void> {
    await this.#within({ wanted: "the root shell's prompt", failsAtRest: true }, this.#prompt.shown());
    const trouble = inEmergency(this.#tail);
    if (trouble) throw trouble;
  }

  async run(command: string): Promise<Answer> {
    const answer = this.#prompt.answer();
    const line = `printf '\\035'; { ${command}\n} 2>&1 </dev/null; printf '\\036%d\\n' $?\n`;
    void this.#machine.input(new TextEncoder().encode(line));
    return this.#within({ wanted: `the end of ${JSON.stringify(command)}`, failsAtRest: false }, answer);
  }

  /** The machine as it stands, as a saved state; it goes on. */
  state(): Promise<Uint8Array> {
    return this.#machine.state();
  }

  async stop(): Promise<void> {
    this.#machine.stop();
    await this.#machine.ended;
  }

  #within<T>(wait: GuestWait, work: Promise<T>): Promise<T> {
    return within(this.#host, this.#machine, this.#tail, wait, work);
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
    return this.#until(() => (endsWithPrompt(this.#text) ? true : undefined)).then(() => {});
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
