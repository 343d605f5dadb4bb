/** `daybreak boot`: the bare machine, for people who know QEMU. */
import { basename } from 'node:path';
import { VmError } from '../../base/errors.ts';
import { parseCpus, parseMemory, text, type ParsedArguments } from '../arguments.ts';
import { watchCompiler } from '../compiler-watch.ts';
import { attach } from '../console.ts';
import { EXIT_CLOSED, EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import { FileOutput } from '../file-output.ts';
import type { Host } from '../host.ts';
import type { MachineEnd, RunningMachine } from '../machine.ts';
import { machineName, Registration } from '../machines/registration.ts';
import { Saving } from '../saving.ts';
import { printStats, statsFormat } from '../stats.ts';

export async function bootVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  if (positionals.length > 0) throw new VmError('usage', `boot: unexpected argument ${positionals[0]}`);
  const kernelPath = text(values, 'kernel');
  const restore = text(values, 'restore');
  if (kernelPath === undefined && restore === undefined) {
    throw new VmError('usage', 'boot: expected --kernel FILE or --restore FILE (daybreak boot --help)');
  }
  const memory = text(values, 'memory') ?? (restore === undefined ? '512' : undefined);
  const [savePath, saveWhen] = [text(values, 'save'), text(values, 'save-when')];
  if (saveWhen !== undefined && !(saveWhen && savePath)) throw new VmError('usage', 'boot: --save-when expects a TEXT, and --save FILE');
  const saving = savePath === undefined ? undefined : new Saving({ path: savePath, when: saveWhen }, host.messages);
  const serial = text(values, 'serial') ?? 'stdio';
  if (serial !== 'stdio' && serial !== 'none' && !/^file:./.test(serial)) {
    throw new VmError('usage', `--serial ${serial}: expected stdio, file:FILE or none`);
  }
  const stats = statsFormat(values);
  const name = machineName(text(values, 'name'));
  const [cpu, cpus, accelerator] = [text(values, 'cpu'), text(values, 'cpus'), text(values, 'accel')];
  const watch = await watchCompiler(host.files, values);
  const log = serial.startsWith('file:') ? new FileOutput(await host.files.append(serial.slice(5), 0)) : undefined;
  const of = basename(kernelPath ?? restore!);
  const registered = await Registration.open(host, { verb: 'boot', of, base: 'boot', name });
  try {
    const machine = await host.startMachine({
      ...(kernelPath !== undefined && { kernel: await required(host, kernelPath) }),
      ...(restore !== undefined && { restore: { source: restore } }),
      initrds: await Promise.all(list(values['initrd']).map((path) => required(host, path))),
      commandLine: text(values, 'append') ?? '',
      ...(memory !== undefined && { memoryBytes: parseMemory(memory) }),
      ...(cpus !== undefined && { cpus: parseCpus(cpus) }),
      ...(cpu !== undefined && { cpu }),
      ...(accelerator !== undefined && { accelerator }),
      ...(watch.observer && { compilerObserver: watch.observer }),
      disks: list(values['disk']).map((disk) => ({ path: disk.replace(/,ro$/, ''), readOnly: disk.endsWith(',ro') })),
      directories: list(values['fs']).map(parseDirectory),
      console: 'serial',
      output: (data) => {
        saving?.output(data);
        if (serial === 'stdio') host.terminal.write(data);
        else log?.write(data);
      },
      noReboot: values['no-reboot'] === true,
      debugExit: values['debug-exit'] === true,
      log: host.log,
    });
    registered.attach(machine);
    saving?.attach(machine);
    const save = saving && (() => saving.saveAndEnd());
    const { machine: end, by } =
      serial === 'stdio'
        ? await attach(host.terminal, machine, { endOfInput: 'nothing', signal: host.signal, ...(save && { save }) })
        : { machine: await unattached(machine, host.signal, save), by: 'guest' };
    printStats(host.messages, machine.stats(), stats);
    return end.kind === 'stopped' && by === 'closed' ? EXIT_CLOSED : statusOf(end);
  } finally {
    await Promise.all([log?.close(), watch.close()]);
    await registered.close();
  }
}

/** What `boot` exits with. */
export function statusOf(end: MachineEnd): number {
  switch (end.kind) {
    case 'poweroff':
    case 'stopped':
      return EXIT_OK;
    case 'reset':
      return EXIT_FAILURE;
    case 'debug-exit':
      // As QEMU's isa-debug-exit; a process's status has 8 bits.
      return ((end.value << 1) | 1) & 0xff;
    case 'failed':
      throw end.error;
  }
}

async function unattached(machine: RunningMachine, signal: AbortSignal, save?: () => Promise<boolean>): Promise<MachineEnd> {
  const stop = (): void => (save ? void save().then(() => machine.stop()) : machine.stop());
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const end = await machine.ended;
  signal.removeEventListener('abort', stop);
  return end;
}

async function required(host: Host, path: string): Promise<Uint8Array> {
  const data = await host.files.read(path);
  if (!data) throw new VmError('not-found', `cannot read ${path}: it does not exist`);
  return data;
}

function parseDirectory(value: string): { tag: string; path: string } {
  const match = /^([^=]+)=(.+)$/s.exec(value);
  if (!match) throw new VmError('usage', `--fs ${value}: expected TAG=DIR`);
  return { tag: match[1]!, path: match[2]! };
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}
