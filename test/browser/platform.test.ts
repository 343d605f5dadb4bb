/** src/browser where it belongs: what Node's own versions of a browser's functions do not show. */
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Tab } from '../../scripts/devtools.mjs';
import { noChromium, withChromium } from './chromium.ts';

const chromium = withChromium(tmpdir);
let page: Tab;

/** A module of src/browser as an address to import. */
async function bundled(name: string): Promise<string> {
  const entry = fileURLToPath(new URL(`../../src/browser/${name}`, import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false });
  return `data:text/javascript;base64,${Buffer.from(outputFiles[0]!.contents).toString('base64')}`;
}

describe.skipIf(noChromium !== undefined)('in Chromium', () => {
  beforeAll(async () => {
    page = await chromium.browser.open('about:blank');
  });
  afterAll(() => page.close());

  const run = async (module: string, body: string): Promise<unknown> =>
    page.evaluate(`(async () => { const m = await import('${await bundled(module)}'); ${body} })()`);

  test('random bytes fill shared memory, which the browser itself refuses', async () => {
    const body = `
      const bytes = new Uint8Array(new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true }).buffer);
      let refused = false;
      try { crypto.getRandomValues(bytes.subarray(0, 8)); } catch { refused = true; }
      new m.BrowserRandom().fill(bytes);
      return { refused, filled: bytes.subarray(-32).some((byte) => byte !== 0) };`;
    expect(await run('clock.ts', body)).toEqual({ refused: true, filled: true });
  });

  test('a thousand breaths take less than the 4 ms each that timers would, and let timers in', async () => {
    const body = `
      const pace = new m.BrowserPace();
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      const began = pace.nowMs();
      for (let n = 0; n < 1000 || ticks === 0; n++) await pace.breathe();
      clearInterval(timer);
      return { ms: pace.nowMs() - began, ticks };`;
    const { ms, ticks } = (await run('pace.ts', body)) as { ms: number; ticks: number };
    expect(ticks).toBeGreaterThan(0);
    expect(ms).toBeLessThan(4000);
  });

  test('this browser lacks nothing that the machine needs', async () => {
    expect(await run('wasm-features.ts', 'return m.missingFeatures((module) => WebAssembly.validate(module)).length;')).toBe(0);
  });
});
