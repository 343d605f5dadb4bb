// Drives a headless Chromium through its DevTools protocol, over a pipe: no port, no package, and it ends when we do.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const PROFILE = 'daybreak-chromium-';

/** Path of a Chromium: $CHROMIUM, or one of its names on PATH; undefined when there is none. */
export function findChromium(environment = process.env) {
  if (environment.CHROMIUM) return environment.CHROMIUM;
  return (environment.PATH ?? '')
    .split(delimiter)
    .flatMap((directory) => PROGRAMS.map((program) => join(directory, program)))
    .find((path) => existsSync(path));
}

const FLAGS = [
  ...['--headless', '--remote-debugging-pipe', '--no-first-run', '--no-default-browser-check', '--disable-gpu', '--mute-audio'],
  // Nothing but the page: no update checks, no sync.
  ...['--disable-background-networking', '--disable-component-update', '--disable-default-apps', '--disable-extensions', '--disable-sync'],
  // A page that nobody looks at is to run all the same.
  ...['--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
  // Containers have a small /dev/shm.
  ...['--disable-crash-reporter', '--disable-breakpad', '--disable-dev-shm-usage'],
];

/** Chromium's own sandbox does not work for root. What runs here is our own page. */
const sandbox = () => (process.getuid?.() === 0 ? ['--no-sandbox', '--no-zygote'] : []);

/** Profiles whose process was killed before it could remove them. */
function removeStaleProfiles() {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PROFILE}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined) continue;
    try {
      process.kill(Number(pid), 0);
    } catch (error) {
      if (error.code === 'ESRCH') rmSync(join(tmpdir(), name), { recursive: true, force: true });
    }
  }
}

/** A running browser. `send` rejects with what the browser says is wrong, or when it has gone. */
export class Chromium {
  #child;
  #profile;
  #last = 0;
  #waiting = new Map();
  #listeners = [];
  #exited;
  /** Why nothing can be sent any more. */
  #gone;

  constructor(program) {
    removeStaleProfiles();
    this.#profile = mkdtempSync(join(tmpdir(), `${PROFILE}${process.pid}-`));
    this.#child = spawn(program, [...FLAGS, ...sandbox(), `--user-data-dir=${this.#profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    });
    let errors = '';
    this.#child.stderr.setEncoding('utf8').on('data', (text) => (errors = (errors + text).slice(-4096)));
    this.#exited = new Promise((resolve) => {
      const gone = (reason) => {
        for (const { reject } of this.#waiting.values()) reject(new Error(`${program}: ${reason}\n${errors}`));
        this.#waiting.clear();
        this.#gone = `${program}: ${reason}`;
        resolve();
      };
      this.#child.on('error', (error) => gone(error.message));
      this.#child.on('close', (code, signal) => gone(`ended with ${signal ?? code}`));
    });
    const [, , , input, output] = this.#child.stdio;
    input.on('error', () => {});
    let rest = [];
    output.on('data', (data) => {
      let from = 0;
      for (let end = data.indexOf(0); end >= 0; end = data.indexOf(0, from)) {
        const message = Buffer.concat([...rest, data.subarray(from, end)]);
        rest = [];
        from = end + 1;
        this.#received(JSON.parse(message.toString()));
      }
      rest.push(data.subarray(from));
    });
  }

  #received({ id, result, error, method, params, sessionId }) {
    if (id === undefined) {
      for (const listener of this.#listeners) listener(method, params, sessionId);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Error(`${waiting.method}: ${error.message}`));
    else waiting?.resolve(result);
  }

  send(method, params = {}, sessionId) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(new Error(this.#gone));
      this.#waiting.set(id, { method, resolve, reject });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
    });
  }

  onEvent(listener) {
    this.#listeners.push(listener);
  }

  /**
   * Opens a page of its own at an address, with `script` run before the page's own in it. What that gives to a function
   * `told` comes here.
   */
  async open(url, { script = '', told } = {}) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Tab(this, targetId, sessionId);
    await page.send('Page.enable');
    await page.send('Runtime.enable');
    await page.send('DOM.enable');
    await page.send('Inspector.enable');
    if (told) {
      page.onEvent((method, { name, payload }) => method === 'Runtime.bindingCalled' && name === 'told' && told(payload));
      await page.send('Runtime.addBinding', { name: 'told' });
    }
    if (script) await page.send('Page.addScriptToEvaluateOnNewDocument', { source: script });
    const loaded = new Promise((resolve) => {
      page.onEvent((method) => method === 'Page.loadEventFired' && resolve());
    });
    const { errorText } = await page.send('Page.navigate', { url });
    if (errorText) throw new Error(`cannot open ${url}: ${errorText}`);
    await loaded;
    return page;
  }

  /** Why nothing can be sent any more, once that is so. */
  async exit() {
    await this.#exited;
    return this.#gone;
  }

  /** Ends the browser and removes what it wrote. Idempotent. */
  async close() {
    await Promise.race([this.send('Browser.close').catch(() => {}), this.#exited]);
    const impatient = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await this.#exited;
    clearTimeout(impatient);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** One page of the browser. */
class Tab {
  #browser;
  #targetId;
  #sessionId;
  /** Rejects when the page or the browser ends before it was asked to; never resolves. */
  crash;

  constructor(browser, targetId, sessionId) {
    this.#browser = browser;
    this.#targetId = targetId;
    this.#sessionId = sessionId;
    this.crash = new Promise((_, reject) => {
      this.onEvent((method) => method === 'Inspector.targetCrashed' && reject(new Error('the page crashed')));
      void browser.exit().then((reason) => reject(new Error(reason)));
    });
    this.crash.catch(() => {});
  }

  send(method, params) {
    return this.#browser.send(method, params, this.#sessionId);
  }

  onEvent(listener) {
    this.#browser.onEvent((method, params, sessionId) => {
      if (sessionId === this.#sessionId) listener(method, params);
    });
  }

  /** The value of an expression in the page; awaits it when it is a promise. Rejects when it throws. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Chooses files of this computer in the file field that a selector finds. */
  async chooseFiles(selector, files) {
    const { root } = await this.send('DOM.getDocument');
    const { nodeId } = await this.send('DOM.querySelector', { nodeId: root.nodeId, selector });
    await this.send('DOM.setFileInputFiles', { nodeId, files });
  }

  /** Types text as a keyboard would. */
  async type(text) {
    for (const letter of text) {
      const key = letter === '\n' ? { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' } : { key: letter, text: letter };
      await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...key });
      await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key: key.key });
    }
  }

  /** Makes the window this large, in CSS pixels. */
  async resize(width, height) {
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
  }

  /** A PNG of what the page shows. */
  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  async close() {
    await this.#browser.send('Target.closeTarget', { targetId: this.#targetId });
  }
}
