import type { EndMessage, FiguresMessage, FromWorker } from '../src/web/protocol.ts';
import type { Chromium, Tab } from './devtools.mjs';

/** Messages as they come out of the page: bytes are text in Latin-1. */
export type Told = Exclude<FromWorker, { type: 'output' }> | { type: 'output'; text: string };

/** Runs `daybreak serve` on any free port, with these arguments. */
export function servePage(...args: string[]): Promise<{ url: string; close(): void }>;

/** Opens the page; `told` gets each of its events. */
export function openPage(browser: Chromium, url: string, told: (message: Told) => void): Promise<Tab>;

export interface PageBoot {
  /** Paths of this computer. */
  readonly kernel: string;
  readonly initrds?: readonly string[];
  /** Other settings, as the page's address has them. */
  readonly query?: Readonly<Record<string, string>>;
}

/** Chooses these files in the page at `base` and presses Start. */
export function bootInPage(
  browser: Chromium,
  base: string,
  boot: PageBoot,
  output: (text: string) => void,
): Promise<{ page: Tab; end: Promise<{ ended: EndMessage; figures: FiguresMessage | undefined; control: string[] }> }>;
