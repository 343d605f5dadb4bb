/** Starts a machine for a person or a command at this terminal, and says how it ended. */
import type { CompilerWatch } from './compiler-watch.ts';
import { text, type ParsedArguments } from './arguments.ts';
import { attach } from './console.ts';
import { EXIT_CLOSED, EXIT_FAILURE, EXIT_OK, EXIT_OURS } from './exit-codes.ts';
import type { Host } from './host.ts';
import type { MachineOptions } from './machine.ts';
import { Registration } from './machines/registration.ts';
import { printStats, type statsFormat } from './stats.ts';

export interface RunInTerminal {
  /** `--name`. */
  readonly name: string | undefined;
  readonly values: ParsedArguments['values'];
  readonly command: readonly string[] | undefined;
  readonly memoryBytes: number;
  readonly stats: ReturnType<typeof statsFormat>;
  readonly watch: CompilerWatch;
}

/** Gives the exit status. `reports`: the guest tells on its control port that it has started and how it ended; else powering off is fine. */
export async function runInTerminal(
  host: Host,
  request: Pick<MachineOptions, 'kernel' | 'initrds' | 'commandLine' | 'fileSystems'> & {
    readonly of: { readonly name: string; readonly day: string };
  },
  options: RunInTerminal,
  reports: boolean,
): Promise<number> {
  const { of, ...machineOptions } = request;
  const registered = await Registration.open(host, { verb: 'try', of: `${of.name}@${of.day}`, base: of.name, name: options.name });
  try {
    return await run(host, machineOptions, options, reports, registered);
  } finally {
    await registered.close();
  }
}

async function run(
  host: Host,
  request: Pick<MachineOptions, 'kernel' | 'initrds' | 'commandLine' | 'fileSystems'>,
  { values, command, memoryBytes, stats, watch }: RunInTerminal,
  reports: boolean,
  registered: Registration,
): Promise<number> {
  const { terminal, messages } = host;
  const size = terminal.size();
  messages.transient('starting the machine…');
  let status: number | undefined;
  let started: (() => void) | undefined;
  const ready = new Promise<void>((resolve) => {
    started = resolve;
  });
  let last = '';
  const accelerator = text(values, 'accel');
  const machine = await host.startMachine({
    ...request,
    memoryBytes,
    ...(watch.observer && { compilerObserver: watch.observer }),
    ...(accelerator !== undefined && { accelerator }),
    console: 'virtio',
    ...(size && { consoleSize: size }),
    output: (data) => {
      messages.clear();
      // Without a status, the last words are the kernel's, and say why.
      last = (last + new TextDecoder().decode(data)).slice(-2000);
      terminal.write(data);
    },
    control: (line) => {
      const match = /^exit (\d{1,3})$/.exec(line);
      if (match) status = Number(match[1]);
      if (line === 'started') started?.();
    },
    noReboot: true,
    log: host.log,
  });
  registered.attach(machine);
  const { machine: end, by } = await attach(terminal, machine, { endOfInput: 'eof', signal: host.signal, ...(reports && { ready }) });
  messages.clear();
  printStats(messages, machine.stats(), stats);
  if (end.kind === 'failed') throw end.error;
  if (status !== undefined) return status;
  if (by === 'closed') return EXIT_CLOSED;
  if (end.kind === 'stopped') return command ? EXIT_OURS : EXIT_OK;
  if (end.kind === 'poweroff' && !reports) return EXIT_OK;
  messages.error(
    last.includes('Kernel panic')
      ? 'the guest’s kernel gave up (its last words are above)'
      : `the machine ended (${end.kind}) without telling how its ${command ? 'command' : 'shell'} ended`,
  );
  return command ? EXIT_OURS : EXIT_FAILURE;
}
