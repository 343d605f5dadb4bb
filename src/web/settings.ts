/** What a machine is to be, as the page's address says it: the options of `daybreak boot` by their names. */
import { VmError } from '../base/errors.ts';
import { memoryBytes, MEMORY_EXPECTED } from '../base/memory-size.ts';
import type { StartMessage } from './protocol.ts';

/** Options with one value, as text. */
export const TEXTS = ['append', 'memory', 'accel', 'cpu', 'console'] as const;
/** Options that are there or not. */
export const FLAGS = ['no-reboot', 'debug-exit'] as const;
/** Addresses of files. `initrd` may be given several times. */
const FILES = ['kernel', 'initrd'] as const;

export interface Settings {
  readonly kernel: string;
  readonly initrds: readonly string[];
  readonly texts: Readonly<Partial<Record<(typeof TEXTS)[number], string>>>;
  readonly flags: ReadonlySet<(typeof FLAGS)[number]>;
}

/** Throws a VmError `usage` for a parameter that there is none of: a misspelt link should not do something else. */
export function settingsOf(query: URLSearchParams): Settings {
  const known: readonly string[] = [...FILES, ...TEXTS, ...FLAGS];
  for (const name of query.keys()) {
    if (!known.includes(name))
      throw new VmError('usage', `the address has ${name}=, which means nothing here (known: ${known.join(', ')})`);
  }
  return {
    kernel: query.get('kernel') ?? '',
    initrds: query.getAll('initrd').filter((address) => address !== ''),
    texts: Object.fromEntries(TEXTS.flatMap((name) => (query.has(name) ? [[name, query.get(name)!]] : []))),
    flags: new Set(FLAGS.filter((name) => query.has(name) && query.get(name) !== '0')),
  };
}

/** The rest of a start message, as a form has it. Throws a VmError `usage`. */
export function machineOf(
  texts: Settings['texts'],
  flags: Settings['flags'],
): Omit<StartMessage, 'type' | 'kernel' | 'kernelName' | 'initrds' | 'columns' | 'rows'> {
  const { append = '', memory = '512', accel, cpu, console = 'serial' } = texts;
  const bytes = memoryBytes(memory);
  if (bytes === undefined) throw new VmError('usage', `memory ${memory}: ${MEMORY_EXPECTED}`);
  if (console !== 'serial' && console !== 'virtio') throw new VmError('usage', `console ${console}: expected serial or virtio`);
  return {
    commandLine: append,
    memoryBytes: bytes,
    console,
    ...(accel && { accelerator: accel }),
    ...(cpu && { cpu }),
    noReboot: flags.has('no-reboot'),
    debugExit: flags.has('debug-exit'),
  };
}
