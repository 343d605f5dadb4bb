// Boots a guest in the page in headless Chromium, as a person would who opens it: the guest's console goes to standard output.
//   node scripts/chromium.mjs --kernel FILE [--initrd FILE]… [--append TEXT] [--memory 512] [--accel jit] [--cpu max]
//                             [--no-reboot] [--debug-exit] [--stats]
// Options and exit status are those of `daybreak boot`. Needs dist/ (npm run setup) and Chromium: $CHROMIUM, or on PATH.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Chromium, findChromium } from './devtools.mjs';

const DAYBREAK = fileURLToPath(new URL('../dist/daybreak.js', import.meta.url));

/** Serves the page (and a directory) with `daybreak serve`; answers its address and how to end it. */
export async function servePage(...args) {
  const server = spawn(process.execPath, [DAYBREAK, 'serve', '--port', '0', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((found, fail) => {
    server.stdout.once('data', (data) => found(String(data).trim()));
    server.once('close', () => fail(new Error('daybreak serve does not start')));
    server.once('error', fail);
  });
  return { url, close: () => server.kill() };
}

/** Runs in the page: passes on what the machine tells. Bytes become a string of the same numbers. */
const LISTEN = `document.addEventListener('daybreak', ({ detail }) => {
  const { data, ...rest } = detail;
  const text = data && Array.from(data, (byte) => String.fromCharCode(byte)).join('');
  told(JSON.stringify(data ? { ...rest, text } : rest));
});`;

/** Opens the page; `told` gets each message of the machine's (src/web/protocol.ts), with bytes as text in Latin-1. */
export function openPage(browser, url, told) {
  return browser.open(url, { script: LISTEN, told: (message) => told(JSON.parse(message)) });
}

/**
 * Boots files of this computer in the page at `base`: chosen in its form, then Start. Answers how it ended: the messages
 * `ended` and the last `figures`, and all lines on the control port.
 * @param options kernel, initrds: paths; query: other settings, as the page's address has them
 */
export async function bootInPage(browser, base, { kernel, initrds = [], query = {} }, output) {
  const control = [];
  let figures;
  let early;
  let ended = (message) => (early = message);
  const page = await openPage(browser, `${base}?${new URLSearchParams(query)}`, (message) => {
    if (message.type === 'output') output(message.text);
    else if (message.type === 'control') control.push(message.line);
    else if (message.type === 'figures') figures = message;
    else if (message.type === 'ended') ended(message);
  });
  await page.chooseFiles('#kernel-file', [resolve(kernel)]);
  if (initrds.length > 0) {
    await page.chooseFiles(
      '#initrd-file',
      initrds.map((path) => resolve(path)),
    );
  }
  // A page that cannot do what its address says has told so by now.
  if (early) throw new Error(early.message);
  const end = new Promise((found) => (ended = found));
  await page.evaluate(`document.getElementById('start').click()`);
  const outcome = Promise.race([end.then((how) => ({ ended: how, figures, control })), page.crash]);
  // Who ends the browser need not wait for it.
  outcome.catch(() => {});
  return { page, end: outcome };
}

function statusOf(ended) {
  if (ended.kind === 'debug-exit') return ((ended.value << 1) | 1) & 0xff;
  return ended.kind === 'poweroff' || ended.kind === 'stopped' ? 0 : 1;
}

async function main() {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string' },
      initrd: { type: 'string', multiple: true },
      ...Object.fromEntries(['append', 'memory', 'accel', 'cpu'].map((name) => [name, { type: 'string' }])),
      ...Object.fromEntries(['no-reboot', 'debug-exit', 'stats'].map((name) => [name, { type: 'boolean' }])),
    },
  });
  const { kernel, initrd: initrds = [], stats, ...query } = values;
  if (!kernel) throw new Error('expected --kernel FILE');
  const program = findChromium();
  if (!program) throw new Error('there is no Chromium: install the package chromium, or set CHROMIUM to its path');
  const server = await servePage();
  const browser = new Chromium(program);
  const close = async () => {
    server.close();
    await browser.close();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => void close().then(() => process.exit(1)));
  process.stdout.on('error', () => void close().then(() => process.exit(141)));
  try {
    const { end } = await bootInPage(browser, server.url, { kernel, initrds, query }, (text) => process.stdout.write(text, 'latin1'));
    const { ended, figures } = await end;
    if (ended.kind === 'failed') console.error(`chromium: ${ended.message}`);
    if (stats && figures) console.error(JSON.stringify(figures.stats));
    return statusOf(ended);
  } finally {
    await close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main().catch((error) => {
    console.error(`chromium: ${error.message}`);
    return 1;
  });
}
