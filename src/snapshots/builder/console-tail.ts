/** The last of what a machine has printed, as lines. */
const KEPT_LINES = 4000;
const LINE_MAX = 2000;

export class ConsoleTail {
  readonly #decoder = new TextDecoder();
  #lines: string[] = [];
  #rest = '';
  /** Taken so far. */
  bytes = 0;

  /** The bytes may lie in shared memory, which is not decoded everywhere. */
  take(data: Uint8Array): void {
    this.bytes += data.length;
    const parts = (this.#rest + this.#decoder.decode(data.slice(), { stream: true })).split('\n');
    this.#rest = parts.pop()!.slice(-LINE_MAX);
    for (const part of parts) this.#lines.push(part.replace(/\r/g, '').slice(0, LINE_MAX));
    if (this.#lines.length > 2 * KEPT_LINES) this.#lines = this.#lines.slice(-KEPT_LINES);
  }

  /** What was printed after the line that begins so, `count` lines at most; the last lines when there is none. */
  since(beginning: string, count: number): string {
    const from = this.#lines.findLastIndex((line) => line.startsWith(beginning));
    if (from < 0) return this.last(count);
    const after = this.#lines.slice(from + 1).findIndex((line) => /^(Setting up|Preparing|Processing triggers for) /.test(line));
    const lines = this.#lines.slice(from, after < 0 ? undefined : from + 1 + after);
    return lines.slice(-count).map(indented).join('\n');
  }

  /** The last of them, for a person; of these no more than the first `most`. */
  last(count: number, most = count): string {
    return this.lines(count).slice(0, most).map(indented).join('\n');
  }

  lines(count: number): readonly string[] {
    return [...this.#lines, ...(this.#rest === '' ? [] : [this.#rest])].slice(-count);
  }
}

function indented(line: string): string {
  return `  ${line}`;
}

/** What a program prints for a terminal only is not its answer: sequences of ECMA-48 (CSI, OSC, DCS and short ones), and carriage returns. */
export function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/\x1b\[[!-?]*[ -/]*[@-~]|\x1b[\]P][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|\r/g, '');
}
