/** The built page in headless Chromium, for tests. */
import { afterAll, beforeAll } from 'vitest';
import { servePage } from '../../scripts/chromium.mjs';
import { Chromium, findChromium } from '../../scripts/devtools.mjs';
import { buildDaybreak } from '../boot/daybreak.ts';

const program = findChromium();

/** Why tests of the page are skipped; undefined when they are not. */
export const noChromium =
  program === undefined ? 'skipped: there is no Chromium here (Debian package chromium, or set CHROMIUM to its path)' : undefined;
if (noChromium !== undefined) console.warn(noChromium);

/** A browser and a server of the page for the tests of one file, with the files of `directory` under files/. */
export function withChromium(directory: () => string): { readonly browser: Chromium; readonly url: string } {
  let browser: Chromium | undefined;
  let server: { url: string; close(): void } | undefined;
  beforeAll(async () => {
    if (program === undefined) return;
    buildDaybreak();
    server = await servePage(directory());
    browser = new Chromium(program);
  });
  afterAll(async () => {
    server?.close();
    await browser?.close();
  });
  return {
    get browser() {
      return browser!;
    },
    get url() {
      return server!.url;
    },
  };
}
