/** The pages of a saved state on their way into a machine, frame by frame. */
import { PAGE_SIZE } from './memory.ts';
import { PAGES_IN_FRAME, type OpenedState } from './saved-state-file.ts';
import { badState, type PageSupply } from './saved-state.ts';

export class StatePages implements PageSupply {
  /** Not the description, which may be large and is not needed any more. */
  readonly #state: Pick<OpenedState, 'pages' | 'contents' | 'readFrame'>;
  readonly #name: string;
  /** Entries of `pages` and `contents` by frame: those of frame n are `#entries[#starts[n]…#starts[n + 1]]`. */
  readonly #starts: Uint32Array;
  readonly #entries: Uint32Array;
  readonly #brought: Uint8Array;
  readonly #onPage: ((page: number) => void) | undefined;
  #next = 0;

  /**
   * With `onPage`, a page that is asked for comes alone, and is told: so one learns which pages a machine needs, and in which order.
   * Throws `bad-state` when the state has pages that a memory of this size has not.
   */
  constructor(state: OpenedState, memoryBytes: number, name: string, onPage?: (page: number) => void) {
    this.#onPage = onPage;
    const { pages, contents, frames, readFrame } = state;
    this.#state = { pages, contents, readFrame };
    this.#name = name;
    const last = pages.at(-1);
    if (last !== undefined && last >= memoryBytes / PAGE_SIZE) throw badState(name, 'the saved state has more memory than its machine');
    this.#starts = new Uint32Array(frames.length + 1);
    for (const content of contents) this.#starts[frameOf(content) + 1]!++;
    for (let n = 0; n < frames.length; n++) this.#starts[n + 1]! += this.#starts[n]!;
    const places = this.#starts.slice();
    this.#entries = new Uint32Array(pages.length);
    contents.forEach((content, entry) => (this.#entries[places[frameOf(content)]!++] = entry));
    this.#brought = new Uint8Array(frames.length);
  }

  eachPage(visit: (page: number) => void): void {
    for (const page of this.#state.pages) visit(page);
  }

  bring(page: number, put: (page: number, data: Uint8Array) => void): void {
    const { pages, contents } = this.#state;
    let [low, high] = [0, pages.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pages[middle]! < page) low = middle + 1;
      else high = middle;
    }
    if (pages[low] !== page) return;
    if (!this.#onPage) return this.#bringFrame(frameOf(contents[low]!), put);
    put(page, this.#contentIn(this.#state.readFrame(frameOf(contents[low]!)), low));
    this.#onPage(page);
  }

  bringNext(put: (page: number, data: Uint8Array) => void): boolean {
    while (this.#next < this.#brought.length && this.#brought[this.#next]) this.#next++;
    if (this.#next === this.#brought.length) return false;
    this.#bringFrame(this.#next, put);
    return true;
  }

  #bringFrame(number: number, put: (page: number, data: Uint8Array) => void): void {
    const frame = this.#state.readFrame(number);
    for (const entry of this.#entries.subarray(this.#starts[number], this.#starts[number + 1]))
      put(this.#state.pages[entry]!, this.#contentIn(frame, entry));
    this.#brought[number] = 1;
  }

  #contentIn(frame: Uint8Array, entry: number): Uint8Array {
    const from = (this.#state.contents[entry]! % PAGES_IN_FRAME) * PAGE_SIZE;
    if (from >= frame.length) throw badState(this.#name, 'the saved state is damaged (a page without content); save the machine again');
    return frame.subarray(from, from + PAGE_SIZE);
  }
}

const frameOf = (content: number): number => Math.floor(content / PAGES_IN_FRAME);
