/** Reading of options that several verbs have. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { VmError } from '../base/errors.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

export interface ParsedArguments {
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly positionals: readonly string[];
  /** What stands behind `--`; undefined without one. */
  readonly command: readonly string[] | undefined;
}

/** Like `parseArgs`, but throws VmError `usage`, and keeps what stands behind `--` apart. */
export function parseVerb(verb: string, args: readonly string[], options: Options): ParsedArguments {
  const dashes = args.indexOf('--');
  const own = dashes < 0 ? args : args.slice(0, dashes);
  try {
    const { values, positionals } = parseArgs({ args: [...own], options, allowPositionals: true, strict: true });
    return { values: { ...values }, positionals, command: dashes < 0 ? undefined : args.slice(dashes + 1) };
  } catch (error) {
    const message = error instanceof Error ? error.message.split('. To specify')[0]! : String(error);
    throw new VmError('usage', `${verb}: ${message} (daybreak ${verb} --help)`, error);
  }
}

const UNITS: Record<string, number> = { '': 2 ** 20, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** `512` (MiB), `512M`, `2G` in bytes. Throws VmError `usage` when it is none or out of range. */
export function parseMemory(text: string): number {
  const match = /^(\d+)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  const bytes = match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : Number.NaN;
  if (!Number.isSafeInteger(bytes) || bytes < 16 * 2 ** 20 || bytes > 3 * 2 ** 30) {
    throw new VmError('usage', `--memory ${text}: expected a size from 16 (MiB) to 3G, for example 512 or 2G`);
  }
  return bytes;
}

export function text(values: ParsedArguments['values'], name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}
