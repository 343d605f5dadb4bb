/** Messages and progress for people, on standard error: standard output belongs to the guest. */
import type { LogLevel } from '../base/log.ts';
import type { ProgressReport } from '../snapshots/progress.ts';

const REDRAW_MS = 100;
const BAR_CELLS = 24;
/** Speed is averaged over the last while. */
const SPEED_WINDOW_MS = 3000;

interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
  on(event: 'error', listener: () => void): unknown;
}

/** `12.3 MB`, decimal units. */
export function formatBytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = count;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export class Messages {
  readonly #stream: Stream;
  readonly #terminal: boolean;
  readonly #colour: boolean;
  readonly #now: () => number;
  #closed = false;
  #shown = false;
  #lastDraw = Number.NEGATIVE_INFINITY;
  #step: string | undefined;
  #samples: { at: number; done: number }[] = [];

  constructor(stream: Stream, environment: Readonly<Record<string, string | undefined>>, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
    this.#terminal = stream.isTTY === true && environment['TERM'] !== 'dumb';
    // https://no-color.org: present and not empty.
    this.#colour = this.#terminal && !environment['NO_COLOR'];
    stream.on('error', () => {
      this.#closed = true;
    });
  }

  log(level: LogLevel, component: string, text: string): void {
    if (level === 'debug') return;
    if (level === 'warn') this.line(`${this.#paint('33', 'warning:')} ${text}`);
    else if (level === 'error') this.error(text);
    else this.line(`${component}: ${text}`);
  }

  error(text: string): void {
    this.line(`${this.#paint('31', 'daybreak:')} ${text}`);
  }

  /** One line; a progress bar makes way for it. */
  line(text: string): void {
    this.#clear();
    // A terminal in raw mode does not return the carriage by itself.
    this.#put(`${printable(text)}${this.#terminal ? '\r' : ''}\n`);
  }

  /** Shows how far it has come: a bar on a terminal, else one line when a step is complete. */
  progress = (report: ProgressReport): void => {
    const now = this.#now();
    if (report.step !== this.#step) {
      this.#finishStep();
      this.#step = report.step;
      this.#samples = [{ at: now, done: report.done }];
      this.#lastDraw = Number.NEGATIVE_INFINITY;
    }
    this.#samples.push({ at: now, done: report.done });
    while (this.#samples.length > 2 && this.#samples[1]!.at < now - SPEED_WINDOW_MS) this.#samples.shift();
    const complete = report.total !== undefined && report.done >= report.total;
    if (!this.#terminal) {
      if (complete) this.#put(`${report.step}: ${amount(report)}\n`);
      if (complete) this.#step = undefined;
      return;
    }
    if (!complete && now - this.#lastDraw < REDRAW_MS) return;
    this.#lastDraw = now;
    this.#put(`\r${this.#bar(report)}\x1b[K`);
    this.#shown = true;
    if (complete) this.#finishStep();
  };

  /** A passing remark, such as `starting the machine…`; the next message replaces it. Nothing when it is not a terminal. */
  transient(text: string): void {
    if (!this.#terminal) return;
    this.#clear();
    this.#put(`${printable(text)}\x1b[K`);
    this.#shown = true;
  }

  /** Takes away what is passing. Call before something else writes to the terminal. */
  clear(): void {
    this.#clear();
  }

  #bar(report: ProgressReport): string {
    const { step, done, total } = report;
    const first = this.#samples[0]!;
    const last = this.#samples[this.#samples.length - 1]!;
    const seconds = (last.at - first.at) / 1000;
    const perSecond = seconds > 0.2 ? Math.max(0, (last.done - first.done) / seconds) : 0;
    const speed = report.unit === 'bytes' && perSecond > 0 && (total === undefined || done < total) ? `  ${formatBytes(perSecond)}/s` : '';
    if (total === undefined) return `${step}  ${amount(report)}${speed}`;
    const part = total === 0 ? 1 : Math.min(1, done / total);
    const filled = Math.round(part * BAR_CELLS);
    const bar = this.#paint('36', '━'.repeat(filled)) + this.#paint('2', '─'.repeat(BAR_CELLS - filled));
    const text = `${step.padEnd(14)} ${bar} ${String(Math.floor(part * 100)).padStart(3)} %  ${amount(report)}${speed}`;
    const columns = this.#stream.columns ?? 80;
    const visible = 14 + 1 + BAR_CELLS + 7 + amount(report).length + speed.length;
    return visible < columns ? text : `${step} ${Math.floor(part * 100)} %`;
  }

  #finishStep(): void {
    if (this.#shown) this.#put('\r\n');
    this.#shown = false;
    this.#step = undefined;
  }

  #clear(): void {
    if (this.#shown) this.#put('\r\x1b[K');
    this.#shown = false;
  }

  #paint(code: string, text: string): string {
    return this.#colour && text !== '' ? `\x1b[${code}m${text}\x1b[0m` : text;
  }

  #put(text: string): void {
    if (!this.#closed) this.#stream.write(text);
  }
}

function amount({ done, total, unit }: ProgressReport): string {
  const show = (count: number) => (unit === 'bytes' ? formatBytes(count) : String(count));
  return total === undefined ? show(done) : `${show(done)} of ${show(total)}`;
}

/** Servers and packages have a say in messages: no control characters get to the terminal, but our own colours. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/\x1b(?!\[\d*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g, '?');
}
