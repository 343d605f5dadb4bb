/**
 * Stands between a machine's console and a terminal while lines of ours are typed at the guest's prompt: what the guest prints of
 * them is not shown, and how they ended is found in its output. Bytes are passed on as they are.
 */
import { endsWithPrompt } from './prompt-shown.ts';

/** Bytes that nobody types and that a terminal does not echo. */
const [BEGIN, END] = ['\x1d', '\x1e'];
/** Enough to see a prompt in. */
const TAIL_MAX = 2000;
/** Three digits and the line's end. */
const STATUS_MAX = 4;

export interface PromptGateOptions {
  /** What the terminal gets. The bytes are its own. */
  readonly show: (data: Uint8Array) => void;
  /** What no guest can know: marks with it are ours. */
  readonly nonce: string;
  /** The machine boots: what it prints until the prompt is shown, or not. */
  readonly showBoot: boolean;
  /** The guest has come to its prompt. */
  readonly onPrompt: () => void;
  /** Our line runs: from now on, what comes is shown. */
  readonly onBegin: () => void;
  /** It has ended, with this status; what comes now is not shown. */
  readonly onEnd: (status: number) => void;
}

export class PromptGate {
  readonly #options: PromptGateOptions;
  #stage: 'boot' | 'typing' | 'open' | 'ended';
  #held = '';
  /** The last of what the guest has printed. */
  tail = '';

  /** `stage`: what the machine does now: boots, stands at its prompt, or goes on with what our line has begun. */
  constructor(options: PromptGateOptions, stage: 'boot' | 'prompt' | 'open') {
    this.#options = options;
    this.#stage = stage === 'prompt' ? 'typing' : stage;
  }

  take(data: Uint8Array): void {
    const text = latin1(data);
    this.tail = (this.tail + text).slice(-TAIL_MAX);
    if (this.#stage === 'boot') this.#boot(text);
    else if (this.#stage !== 'ended') this.#scan(this.#held + text);
  }

  #boot(text: string): void {
    if (this.#options.showBoot) this.#show(text);
    if (!endsWithPrompt(this.tail)) return;
    this.#stage = 'typing';
    this.#options.onPrompt();
  }

  /** `text` begins with what was held back. */
  #scan(text: string): void {
    const { nonce, onBegin, onEnd } = this.#options;
    if (this.#stage === 'typing') {
      const mark = `${BEGIN}${nonce}`;
      const at = text.indexOf(mark);
      if (at < 0) {
        this.#held = text.slice(-mark.length);
        return;
      }
      this.#stage = 'open';
      this.#held = '';
      onBegin();
      text = text.slice(at + mark.length);
    }
    const mark = `${END}${nonce} `;
    const at = text.indexOf(mark);
    if (at < 0) {
      const keep = beginningOf(mark, text);
      this.#show(text.slice(0, text.length - keep));
      this.#held = text.slice(text.length - keep);
      return;
    }
    this.#show(text.slice(0, at));
    this.#held = text.slice(at);
    const rest = text.slice(at + mark.length, at + mark.length + STATUS_MAX);
    const status = /^(\d{1,3})[\r\n]/.exec(rest)?.[1];
    if (status === undefined && /^\d{0,3}$/.test(rest)) return;
    this.#stage = 'ended';
    onEnd(Number(status ?? 255));
  }

  #show(text: string): void {
    if (text !== '') this.#options.show(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  }
}

/** How many of the last characters of `text` are the first of `mark`. */
function beginningOf(mark: string, text: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) if (mark.startsWith(text.slice(-length))) return length;
  return 0;
}

/** TextDecoder's latin1 is windows-1252, which is another thing. */
function latin1(data: Uint8Array): string {
  let text = '';
  for (const byte of data) text += String.fromCharCode(byte);
  return text;
}
