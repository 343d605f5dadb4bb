/** The worker: makes one machine as the page says, runs it, and tells what it does. protocol.ts is all that it understands. */
import { startConsolePc, TYPED_MAX, type RunningMachine } from '../boards/console-pc.ts';
import { BrowserClock, BrowserRandom } from '../browser/clock.ts';
import { BrowserPace } from '../browser/pace.ts';
import type { MachineEnd } from '../machine/machine.ts';
import { OutputBuffer } from './output.ts';
import type { EndMessage, FiguresMessage, FromWorker, StartMessage, ToWorker } from './protocol.ts';

const FIGURES_MS = 1000;

const scope = globalThis as unknown as DedicatedWorkerGlobalScope;
const post = (message: FromWorker, transfer: Transferable[] = []): void => scope.postMessage(message, transfer);

/** Makes and runs the machine; answers it and its end. */
async function start(message: StartMessage): Promise<RunningMachine> {
  const pace = new BrowserPace();
  const output = new OutputBuffer(
    // After the machine's slice, which breathes the same way.
    (flush) => void pace.breathe().then(flush),
    (data) => post({ type: 'output', data }, [data.buffer]),
  );
  const { columns, rows, type: _, ...options } = message;
  const machine = await startConsolePc(
    { pace, random: new BrowserRandom(), epochMs: new BrowserClock().nowMs(), runtime: await loadRuntime() },
    {
      ...options,
      consoleSize: { columns, rows },
      output: (data) => output.write(data),
      control: (line) => post({ type: 'control', line }),
      log: (level, component, text) => post({ type: 'log', level, component, message: text }),
    },
  );
  post({ type: 'started' });
  const began = pace.nowMs();
  const figures = (): FiguresMessage => ({ type: 'figures', stats: machine.stats(), elapsedMs: pace.nowMs() - began });
  let told = -1;
  const timer = setInterval(() => {
    const now = figures();
    // Two in a row that are equal say that the guest sleeps; more would only keep the page awake.
    if (now.stats.instructions !== told) post(now);
    told = now.stats.instructions;
  }, FIGURES_MS);
  void machine.ended.then((end) => {
    clearInterval(timer);
    output.flush();
    post(figures());
    post(endMessage(end));
  });
  return machine;
}

async function loadRuntime(): Promise<WebAssembly.Module> {
  const response = await fetch(new URL('runtime.wasm', import.meta.url));
  if (!response.ok) throw new Error(`runtime.wasm is missing beside the page (status ${response.status})`);
  return WebAssembly.compile(await response.arrayBuffer());
}

function endMessage(end: MachineEnd): EndMessage {
  return end.kind === 'failed' ? failed(end.error) : { type: 'ended', ...end };
}

function failed(error: unknown): EndMessage {
  return { type: 'ended', kind: 'failed', message: error instanceof Error ? error.message : String(error) };
}

/** Messages wait for the machine in the order in which they came. */
function listen(): void {
  let machine: Promise<RunningMachine> | undefined;
  scope.onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
    if (message.type === 'start') {
      machine = start(message);
      machine.catch((error: unknown) => post(failed(error)));
      return;
    }
    machine?.then(
      (running) => {
        if (message.type === 'resize') running.resize(message);
        else if (running.waiting() < TYPED_MAX) void running.input(message.data);
      },
      () => {},
    );
  };
}

listen();
