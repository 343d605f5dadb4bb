/**
 * The page: a form that says what machine to start, then its console. Whatever the machine tells is also an event
 * `daybreak` on the document, whose `detail` is a message of protocol.ts, for whoever puts the page to use. What keeps it
 * from being made is told as `ended`, too.
 */
import { BrowserFetch } from '../browser/fetch.ts';
import { missingFeatures } from '../browser/wasm-features.ts';
import { Console } from './console.ts';
import { load, nameOf, type Source } from './files.ts';
import type { FiguresMessage, FromWorker } from './protocol.ts';
import { FLAGS, machineOf, settingsOf, TEXTS, type Settings } from './settings.ts';
import { endWords, figureWords, short } from './words.ts';
import { WorkerMachine } from './worker-machine.ts';

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`bug: the page has no ${id}`);
  return found;
}

class Page {
  readonly #form = element('form', HTMLFormElement);
  readonly #status = element('status', HTMLElement);
  readonly #problem = element('problem', HTMLElement);
  readonly #start = element('start', HTMLButtonElement);
  readonly #stop = element('stop', HTMLButtonElement);
  readonly #settings = element('settings', HTMLButtonElement);
  readonly #screen = element('console', HTMLElement);
  readonly #fetch = new BrowserFetch();
  #console: Console | undefined;
  #machine: WorkerMachine | undefined;
  /** Ends the loading of files. */
  #loading: AbortController | undefined;
  #figures: FiguresMessage | undefined;

  constructor() {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#begin();
    });
    this.#stop.addEventListener('click', () => {
      this.#loading?.abort();
      this.#machine?.stop();
    });
    this.#settings.addEventListener('click', () => this.#showForm());
    document.addEventListener('keydown', (event) => {
      if (event.key === 'F6' && event.ctrlKey && !this.#screen.hidden && !event.defaultPrevented) {
        event.preventDefault();
        this.#console?.focus();
      }
    });
    this.#showForm();
  }

  /** Says what the browser lacks, or fills the form from the page's address and starts what it names. */
  open(): void {
    const missing = missingFeatures((module) => WebAssembly.validate(module));
    if (missing.length > 0) {
      const list = missing.map(({ name, since }) => `${name} (${since})`).join('\n');
      this.#fail(new Error(`This browser cannot run the machine. Its WebAssembly lacks:\n${list}`));
      this.#start.disabled = true;
      return;
    }
    try {
      const settings = settingsOf(new URLSearchParams(location.search));
      this.#fill(settings);
      if (settings.kernel !== '') void this.#begin();
    } catch (error) {
      this.#fail(error);
    }
  }

  #field(name: string): HTMLInputElement | HTMLSelectElement {
    return this.#form.elements.namedItem(name) as HTMLInputElement | HTMLSelectElement;
  }

  #fill({ kernel, initrds, texts, flags }: Settings): void {
    this.#field('kernel').value = kernel;
    this.#field('initrd').value = initrds.join(' ');
    for (const name of TEXTS) {
      const text = texts[name];
      if (text === undefined) continue;
      const field = this.#field(name);
      field.value = text;
      // A selection does not take what it does not offer.
      if (field.value !== text) throw new Error(`${name}=${text} in the address: there is no such choice`);
    }
    for (const name of FLAGS) (this.#field(name) as HTMLInputElement).checked = flags.has(name);
  }

  /** Files that were chosen go before addresses. */
  #sources(name: 'kernel' | 'initrd'): Source[] {
    const { files } = element(`${name}-file`, HTMLInputElement);
    if (files && files.length > 0) return [...files];
    return this.#field(name)
      .value.split(/\s+/)
      .filter((address) => address !== '');
  }

  async #begin(): Promise<void> {
    if (this.#machine || this.#loading) return;
    const { signal } = (this.#loading = new AbortController());
    try {
      const texts = Object.fromEntries(TEXTS.map((name) => [name, this.#field(name).value]));
      const options = machineOf(texts, new Set(FLAGS.filter((name) => (this.#field(name) as HTMLInputElement).checked)));
      const [kernel] = this.#sources('kernel');
      if (kernel === undefined) throw new Error('Choose a kernel, or give its address.');
      const initrds = this.#sources('initrd');
      this.#showConsole();
      const get = (source: Source) => load(this.#fetch, source, document.baseURI, signal, (got, of) => this.#progress(source, got, of));
      const message = {
        ...options,
        type: 'start' as const,
        kernel: await get(kernel),
        kernelName: nameOf(kernel),
        initrds: await Promise.all(initrds.map(get)),
        ...this.#console!.size,
      };
      signal.throwIfAborted();
      this.#say('Starting…');
      this.#machine = new WorkerMachine(message, (told) => this.#told(told));
    } catch (error) {
      this.#showForm();
      if (!signal.aborted) this.#fail(error);
    }
    this.#loading = undefined;
  }

  #told(message: FromWorker): void {
    switch (message.type) {
      case 'started':
        this.#say('Running.');
        break;
      case 'output':
        this.#console?.write(message.data);
        break;
      case 'figures':
        this.#say(figureWords(message, this.#figures), 'off');
        this.#figures = message;
        break;
      case 'log':
        if (message.level === 'error' || message.level === 'warn') console.warn(`${message.component}: ${message.message}`);
        break;
      case 'ended':
        this.#machine = undefined;
        this.#stop.hidden = true;
        this.#settings.hidden = false;
        this.#settings.focus();
        if (message.kind === 'failed') this.#complain(message.message);
        this.#say(`${endWords(message)}${this.#sum()}`);
        break;
      case 'control':
        break;
    }
    this.#tell(message);
  }

  #sum(): string {
    return this.#figures
      ? ` ${short(this.#figures.stats.instructions)} instructions in ${(this.#figures.elapsedMs / 1000).toFixed(1)} s.`
      : '';
  }

  #progress(source: Source, got: number, of: number | undefined): void {
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    this.#say(`Loading ${nameOf(source)}: ${mib(got)}${of === undefined ? '' : ` of ${mib(of)}`}`, 'off');
  }

  #showForm(): void {
    this.#screen.hidden = true;
    this.#stop.hidden = true;
    this.#settings.hidden = true;
    this.#form.hidden = false;
    this.#say('Ready.');
    element('kernel-file', HTMLInputElement).focus();
  }

  #showConsole(): void {
    this.#problem.hidden = true;
    this.#form.hidden = true;
    this.#settings.hidden = true;
    this.#stop.hidden = false;
    this.#screen.hidden = false;
    this.#figures = undefined;
    this.#console ??= new Console(this.#screen, {
      input: (data) => this.#machine?.input(data),
      resized: (columns, rows) => this.#machine?.resize(columns, rows),
      leave: () => (this.#stop.hidden ? this.#settings : this.#stop).focus(),
    });
    this.#console.begin();
    this.#say('Loading…');
  }

  /** `live`: whether a screen reader is to say it, too. What changes each second is not worth that. */
  #say(text: string, live: 'polite' | 'off' = 'polite'): void {
    this.#status.ariaLive = live;
    this.#status.textContent = text;
  }

  #complain(text: string): void {
    this.#problem.textContent = text;
    this.#problem.hidden = false;
  }

  /** There is no machine, and why. */
  #fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#complain(message);
    this.#tell({ type: 'ended', kind: 'failed', message });
  }

  #tell(message: FromWorker): void {
    document.dispatchEvent(new CustomEvent('daybreak', { detail: message }));
  }
}

new Page().open();
