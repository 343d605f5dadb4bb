/** Reads the fields of a TOML table, and says of a wrong one in which line it stands. */
import { VmError } from '../../base/errors.ts';

/** True, or what is wrong. */
type Check = (value: string) => true | string;

export interface FieldReader {
  string(key: string, check?: Check): string | undefined;
  integer(key: string, min: number, max: number): number | undefined;
  /** A list of texts; empty when it is not there. */
  strings(key: string, check?: Check): string[];
  tables(key: string): FieldReader[];
  /** Refuses fields that are none of these. */
  only(keys: readonly string[]): void;
  refuse(key: string, what: string): never;
}

type Path = readonly (string | number)[];

/** `path` is where `table` stands in the document `text`; `where` is the file's name. All methods throw VmError `usage`. */
export function fieldReader(where: string, text: string, table: Record<string, unknown>, path: Path): FieldReader {
  const refuse = (key: string, what: string): never => {
    const full = [...path, key];
    const name = full.map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`)).join('');
    throw new VmError('usage', `${where}:${lineOf(text, full)}: ${name}: ${what}`);
  };
  const checked = (key: string, value: unknown, check?: Check): string => {
    if (typeof value !== 'string') return refuse(key, `expected a text in quotes, not ${describe(value)}`);
    if (value.includes('\0')) return refuse(key, 'it has a NUL character');
    const result = check?.(value) ?? true;
    return result === true ? value : refuse(key, `${JSON.stringify(value.slice(0, 100))}: ${result}`);
  };
  return {
    refuse,
    string: (key, check) => (table[key] === undefined ? undefined : checked(key, table[key], check)),
    integer(key, min, max) {
      const value = table[key];
      if (value === undefined) return undefined;
      if (!Number.isInteger(value) || (value as number) < min || (value as number) > max)
        return refuse(key, `expected a whole number from ${min} to ${max}, not ${describe(value)}`);
      return value as number;
    },
    strings(key, check) {
      const value = table[key] ?? [];
      if (!Array.isArray(value)) return refuse(key, `expected a list, as in ${key} = ["…"], not ${describe(value)}`);
      return value.map((one) => checked(key, one, check));
    },
    tables(key) {
      const value = table[key] ?? [];
      const isTable = (one: unknown): one is Record<string, unknown> => typeof one === 'object' && one !== null && !Array.isArray(one);
      if (!Array.isArray(value) || !value.every(isTable)) return refuse(key, `expected tables, each under [[${key}]]`);
      return value.map((one, index) => fieldReader(where, text, one, [...path, key, index]));
    },
    only(keys) {
      for (const key of Object.keys(table)) if (!keys.includes(key)) refuse(key, `there is no such field (known: ${keys.join(', ')})`);
    },
  };
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a table' : String(value);
}

/** The line, from 1, where a field stands; that of its table, or 1, when the field is not there. */
export function lineOf(text: string, path: Path): number {
  const lines = text.split('\n');
  const [tableName, index] = path;
  let [line, found, seen] = [0, 1, -1];
  let inside = path.length === 1;
  for (const one of lines) {
    line++;
    const header = /^\s*\[\[?\s*"?([\w-]+)"?\s*\]/.exec(one)?.[1];
    if (header !== undefined) {
      if (path.length === 1 && header === path[0]) return line;
      if (header === tableName) seen++;
      inside = path.length > 1 && header === tableName && seen === index;
      if (inside) found = line;
      continue;
    }
    const key = /^\s*"?([\w-]+)"?\s*[.=]/.exec(one)?.[1];
    if (inside && key === path[path.length - 1]) return line;
    // A table written in one line, in a list: the line of the list is near enough.
    if (path.length > 1 && key === tableName) found = line;
  }
  return found;
}
