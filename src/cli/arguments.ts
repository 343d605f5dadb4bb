/** Reading of options that several verbs have. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { VmError } from '../base/errors.ts';
import { memoryBytes, MEMORY_EXPECTED } from '../base/memory-size.ts';
import { nearest } from './nearest.ts';
import type { Usage } from './usage/usage.ts';

export interface ParsedArguments {
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly positionals: readonly string[];
  /** What stands behind `--`; undefined without one. */
  readonly command: readonly string[] | undefined;
}

/** A verb's arguments by its usage, and `help`. Throws VmError `usage`. What stands behind `--` is kept apart. */
export function parseVerb(verb: string, args: readonly string[], { options: known, command: takesCommand }: Usage): ParsedArguments {
  const options: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean', short: 'h' } };
  for (const [name, { value, multiple = false }] of Object.entries(known))
    options[name] = { type: value === undefined ? 'boolean' : 'string', multiple };
  const dashes = args.indexOf('--');
  const own = dashes < 0 ? args : args.slice(0, dashes);
  try {
    const { values, positionals } = parseArgs({ args: [...own], options, allowPositionals: true, strict: true });
    if (dashes >= 0 && !takesCommand && !values['help']) throw new Error('it takes no command behind --');
    return { values: { ...values }, positionals, command: dashes < 0 ? undefined : args.slice(dashes + 1) };
  } catch (error) {
    const message = error instanceof Error ? error.message.split('. To specify')[0]! : String(error);
    const unknown = /^Unknown option '--(.+)'$/s.exec(message)?.[1];
    const meant = unknown === undefined ? undefined : nearest(unknown, Object.keys(options));
    const hint = meant === undefined ? `daybreak ${verb} --help` : `did you mean --${meant}? daybreak ${verb} --help`;
    throw new VmError('usage', `${verb}: ${message} (${hint})`, error);
  }
}

/** More than any computer that this is for has; each is a thread. */
const CPUS_MAX = 64;

/** A size of guest memory in bytes. Throws VmError `usage` when it is none or out of range. */
export function parseMemory(text: string): number {
  const bytes = memoryBytes(text);
  if (bytes === undefined) throw new VmError('usage', `--memory ${text}: ${MEMORY_EXPECTED}`);
  return bytes;
}

/** A number of processors. Throws VmError `usage` when it is none or out of range. */
export function parseCpus(text: string): number {
  const cpus = /^[0-9]{1,3}$/.test(text) ? Number(text) : 0;
  if (cpus < 1 || cpus > CPUS_MAX) throw new VmError('usage', `--cpus ${text}: expected a number from 1 to ${CPUS_MAX}`);
  return cpus;
}

export function text(values: ParsedArguments['values'], name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}
