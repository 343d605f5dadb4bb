/** The page in headless Chromium, with the same machine in Node beside it. */
import { afterAll, describe, expect, test, type TestContext } from 'vitest';
import { bootInPage, openPage, type PageBoot, type Told } from '../../scripts/chromium.mjs';
import type { Tab } from '../../scripts/devtools.mjs';
import { sha256 } from '../../src/base/sha256.ts';
import { boot } from '../boot/daybreak.ts';
import { openSuite } from '../boot/debian.ts';
import { initramfs, Scratch } from '../boot/initramfs.ts';
import { COMPLAINTS, fetched } from '../boot/linux.ts';
import { noChromium, withChromium } from './chromium.ts';
import { checkValue, checkValueProgram, endlessProgram } from './programs.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());
const chromium = withChromium(() => scratch.directory);

const TIMEOUT_MS = 300_000;
const ROUNDS = 3_000_000;

/** Boots in the page; answers all that it printed and how it ended. Does `react` once, when `seen` has been printed. */
async function bootToEnd(options: PageBoot, seen?: string, react?: (page: Tab) => Promise<void>) {
  let output = '';
  let notice = (): void => {};
  const noticed = new Promise<void>((resolve) => (notice = resolve));
  const { page, end } = await bootInPage(chromium.browser, chromium.url, options, (text) => {
    output += text;
    if (seen !== undefined && output.includes(seen)) notice();
  });
  if (react) await Promise.race([noticed.then(() => react(page)), end]);
  const how = await end;
  await page.close();
  return { output, ...how };
}

/** Debian's kernel for clouds and an initrd that runs `script`. */
async function debian(context: TestContext, name: string, script: string): Promise<Pick<PageBoot, 'kernel' | 'initrds'>> {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    return { kernel: (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.path, busybox: (await suite.busybox()).data };
  });
  return { kernel, initrds: [scratch.write(name, await initramfs(busybox, script))] };
}

/** Opens the page at an address that starts a machine, or that cannot; answers its first `ended`. */
async function openToEnd(address: string) {
  let told: (message: Told) => void = () => {};
  const end = new Promise<Told>((resolve) => (told = resolve));
  let output = '';
  const page = await openPage(chromium.browser, `${chromium.url}${address}`, (message) => {
    if (message.type === 'output') output += message.text;
    if (message.type === 'ended') told(message);
  });
  return { page, end: await end, output };
}

const alertOf = `document.getElementById('problem').checkVisibility() && document.getElementById('problem').textContent`;

describe.skipIf(noChromium !== undefined)('the page in Chromium', { timeout: TIMEOUT_MS }, () => {
  test.for(['interpreter', 'jit'])('runs a program on %s as Node does: same output, same end, as many instructions', async (accel) => {
    const kernel = scratch.write('check', checkValueProgram(ROUNDS));
    const query = { accel, memory: '16', 'debug-exit': '1' };
    const here = await boot(['--kernel', kernel, '--memory', '16', '--debug-exit', '--accel', accel]);
    const there = await bootToEnd({ kernel, query });
    expect(here.output).toBe(checkValue(ROUNDS));
    expect(there.output).toBe(checkValue(ROUNDS));
    expect(here.status).toBe((5 << 1) | 1);
    expect(there.ended).toEqual({ type: 'ended', kind: 'debug-exit', value: 5 });
    expect(here.instructions).toBeGreaterThan(ROUNDS * 5);
    expect(there.figures!.stats.instructions).toBe(here.instructions);
  });

  test('boots Debian’s kernel to userland, and takes what is typed in its terminal', async (context) => {
    const script = `echo "SUM $(seq 100000 | sha256sum)"
echo "WHAT IS IT?"
read answer
echo "IT IS $answer"
poweroff -f
`;
    const files = await debian(context, 'typed.cpio', script);
    const query = { append: 'console=ttyS0 panic=-1', 'no-reboot': '1' };
    const { output, ended, figures } = await bootToEnd({ ...files, query }, 'WHAT IS IT?', (page) => page.type('a tab\n'));
    const numbers = Array.from({ length: 100_000 }, (_, n) => `${n + 1}\n`).join('');
    expect(output).toContain(`SUM ${await sha256(new TextEncoder().encode(numbers))}`);
    expect(output).toContain('IT IS a tab\r\n');
    expect(output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
    expect(ended).toEqual({ type: 'ended', kind: 'poweroff' });
    expect(figures!.stats.decoded).toBeGreaterThan(10_000);
  });

  test('a virtio console knows the size of the terminal, also when the window changes; control lines come out', async (context) => {
    const script = `for port in /sys/class/virtio-ports/*; do
  [ "$(cat $port/name)" = org.daybreak.control ] && echo "hello page" > /dev/\${port##*/}
done
was=$(stty size < /dev/hvc0)
echo "SIZE $was."
while [ "$(stty size < /dev/hvc0)" = "$was" ]; do sleep 0.1; done
echo "NOW $(stty size < /dev/hvc0)."
poweroff -f
`;
    const files = await debian(context, 'sized.cpio', script);
    const query = { console: 'virtio', append: 'console=hvc0 panic=-1 quiet', 'no-reboot': '1' };
    const { output, ended, control } = await bootToEnd({ ...files, query }, 'SIZE', (page) => page.resize(1200, 900));
    const [, before, after] = /SIZE (\d+ \d+)\.[^]*NOW (\d+ \d+)\./.exec(output) ?? [];
    const [rows, columns] = before!.split(' ').map(Number);
    const [moreRows, moreColumns] = after!.split(' ').map(Number);
    expect(rows).toBeGreaterThan(10);
    expect(moreRows).toBeGreaterThan(rows!);
    expect(moreColumns).toBeGreaterThan(columns!);
    expect(control).toEqual(['hello page']);
    expect(ended).toEqual({ type: 'ended', kind: 'poweroff' });
  });

  test('starts by itself what its address names', async () => {
    scratch.write('linked', checkValueProgram(1000));
    const { page, end, output } = await openToEnd('?kernel=files/linked&memory=16&debug-exit');
    expect(end).toMatchObject({ kind: 'debug-exit', value: 5 });
    expect(output).toBe(checkValue(1000));
    // The terminal shows it, and the bar says how it ended.
    await expect.poll(() => page.evaluate(`document.querySelector('.xterm-rows').textContent.trim()`)).toBe(checkValue(1000));
    expect(await page.evaluate(`document.getElementById('status').textContent`)).toMatch(/debug exit with 5.*instructions/);
    await page.close();
  });

  test('is used from the keyboard: Ctrl+F6 goes between terminal and buttons, and Enter stops a guest that never ends', async () => {
    const kernel = scratch.write('endless', endlessProgram());
    let begin = (): void => {};
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const { page, end } = await bootInPage(chromium.browser, chromium.url, { kernel, query: { memory: '16' } }, begin);
    await begun;
    const switchPane = `document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'F6', ctrlKey: true, bubbles: true, cancelable: true }));
      document.activeElement.id || document.activeElement.className`;
    expect(await page.evaluate('document.activeElement.className')).toBe('xterm-helper-textarea');
    expect(await page.evaluate(switchPane)).toBe('stop');
    expect(await page.evaluate(switchPane)).toBe('xterm-helper-textarea');
    expect(await page.evaluate(switchPane)).toBe('stop');
    await page.type('\n');
    expect((await end).ended).toEqual({ type: 'ended', kind: 'stopped' });
    // From here another machine can be started.
    expect(await page.evaluate('document.activeElement.id')).toBe('settings');
    await page.close();
  });

  test.for([
    ['a kernel that is none', '?kernel=files/rubbish', /rubbish/],
    ['a kernel that is not there', '?kernel=files/nothing', /cannot get .*files\/nothing.*404/],
    ['a misspelt option', '?kernal=files/rubbish', /kernal=, which means nothing/],
    ['memory that cannot be', '?kernel=files/rubbish&memory=9G', /memory 9G: expected a size/],
    ['an accelerator that there is not', '?kernel=files/rubbish&accel=warp', /accel=warp/],
  ] as const)('says what is wrong: %s', async ([, address, message]) => {
    scratch.write('rubbish', new TextEncoder().encode('no kernel '.repeat(1000)));
    const { page, end } = await openToEnd(address);
    expect(end).toMatchObject({ kind: 'failed', message: expect.stringMatching(message) });
    expect(await page.evaluate(alertOf)).toMatch(message);
    await page.close();
  });

  test('says what a browser lacks, and starts nothing', async () => {
    const page = await chromium.browser.open(`${chromium.url}?kernel=files/linked`, { script: 'WebAssembly.validate = () => false;' });
    expect(await page.evaluate(alertOf)).toMatch(/cannot run the machine[^]*tail calls \(Chromium 112/);
    expect(await page.evaluate(`document.getElementById('start').disabled`)).toBe(true);
    await page.close();
  });
});
