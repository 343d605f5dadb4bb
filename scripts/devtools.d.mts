/** Path of a Chromium: $CHROMIUM, or one of its names on PATH; undefined when there is none. */
export function findChromium(environment?: Readonly<Record<string, string | undefined>>): string | undefined;

/** A running headless browser. */
export class Chromium {
  constructor(program: string);
  /** Opens a page at an address, with `script` run in it before the page's own. What that gives to a function `told` comes here. */
  open(url: string, options?: { script?: string; told?: (text: string) => void }): Promise<Tab>;
  /** Ends the browser and removes what it wrote. Idempotent. */
  close(): Promise<void>;
}

export interface Tab {
  /** The value of an expression in the page; awaits it when it is a promise. Rejects when it throws. */
  evaluate(expression: string): Promise<unknown>;
  /** Types text as a keyboard would. */
  type(text: string): Promise<void>;
  /** Makes the window this large, in CSS pixels. */
  resize(width: number, height: number): Promise<void>;
  /** A PNG of what the page shows. */
  screenshot(): Promise<Uint8Array>;
  close(): Promise<void>;
}
