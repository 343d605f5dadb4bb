/**
 * Device state, declared once. A schema gives the TypeScript type, the reset values, the save format and
 * what a debugger shows; nothing about a device's state is written a second time.
 */
import { VmError } from '../base/errors.ts';

/** One field's type: how it starts, and how it is turned into plain data and back. */
export interface Field<T> {
  readonly describe: string;
  create(): T;
  /** Plain JSON-like data (numbers, strings, booleans, arrays, Uint8Array, bigint). */
  save(value: T): unknown;
  /** Decodes untrusted data; throws a `bad-state` error that names `path`. */
  load(data: unknown, path: string): T;
}

function unsigned(bits: number, initial: number): Field<number> {
  const max = 2 ** bits - 1;
  return {
    describe: `u${bits}`,
    create: () => initial,
    save: (value) => value,
    load(data, path) {
      if (typeof data === 'number' && Number.isInteger(data) && data >= 0 && data <= max) return data;
      throw new VmError('bad-state', `${path}: expected an integer from 0 to ${max}, found ${String(data)}`);
    },
  };
}

export const u8 = (initial = 0): Field<number> => unsigned(8, initial);
export const u16 = (initial = 0): Field<number> => unsigned(16, initial);
export const u32 = (initial = 0): Field<number> => unsigned(32, initial);

/** A non-negative integer of at most 53 bits, or Infinity: times in nanoseconds, sizes, counters. */
export function count(initial = 0): Field<number> {
  return {
    describe: 'count',
    create: () => initial,
    save: (value) => (value === Infinity ? 'infinity' : value),
    load(data, path) {
      if (data === 'infinity') return Infinity;
      if (typeof data === 'number' && Number.isSafeInteger(data) && data >= 0) return data;
      throw new VmError('bad-state', `${path}: expected a non-negative integer, found ${String(data)}`);
    },
  };
}

export function u64(initial = 0n): Field<bigint> {
  return {
    describe: 'u64',
    create: () => initial,
    save: (value) => value,
    load(data, path) {
      if (typeof data === 'bigint' && data >= 0n && data < 1n << 64n) return data;
      throw new VmError('bad-state', `${path}: expected a 64-bit integer, found ${String(data)}`);
    },
  };
}

export function bool(initial = false): Field<boolean> {
  return {
    describe: 'bool',
    create: () => initial,
    save: (value) => value,
    load(data, path) {
      if (typeof data === 'boolean') return data;
      throw new VmError('bad-state', `${path}: expected true or false, found ${String(data)}`);
    },
  };
}

/** At most `maximum` characters, for people or to be compared. */
export function text(maximum: number, initial = ''): Field<string> {
  return {
    describe: `text(${maximum})`,
    create: () => initial,
    save: (value) => value,
    load(data, path) {
      if (typeof data === 'string' && data.length <= maximum) return data;
      throw new VmError('bad-state', `${path}: expected a text of at most ${maximum} characters`);
    },
  };
}

/** Exactly `length` bytes. */
export function bytes(length: number, initial = 0): Field<Uint8Array> {
  return {
    describe: `bytes(${length})`,
    create: () => new Uint8Array(length).fill(initial),
    save: (value) => value.slice(),
    load(data, path) {
      if (data instanceof Uint8Array && data.length === length) return data.slice();
      throw new VmError('bad-state', `${path}: expected ${length} bytes`);
    },
  };
}

/** Exactly `length` values of one field type. */
export function array<T>(length: number, field: Field<T>): Field<T[]> {
  return {
    describe: `${field.describe}[${length}]`,
    create: () => Array.from({ length }, () => field.create()),
    save: (value) => value.map((item) => field.save(item)),
    load(data, path) {
      if (Array.isArray(data) && data.length === length) return data.map((item, i) => field.load(item, `${path}[${i}]`));
      throw new VmError('bad-state', `${path}: expected an array of ${length}`);
    },
  };
}

/** Up to `maximum` values of one field type: a FIFO, say. Starts empty. */
export function list<T>(maximum: number, field: Field<T>): Field<T[]> {
  return {
    describe: `${field.describe}[0..${maximum}]`,
    create: () => [],
    save: (value) => value.map((item) => field.save(item)),
    load(data, path) {
      if (Array.isArray(data) && data.length <= maximum) return data.map((item, i) => field.load(item, `${path}[${i}]`));
      throw new VmError('bad-state', `${path}: expected an array of at most ${maximum}`);
    },
  };
}

type Fields = Record<string, Field<unknown>>;
type ValuesOf<F> = { -readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** A nested record, for instance one channel of a timer. */
export function struct<F extends { readonly [name: string]: Field<any> }>(fields: F): Field<ValuesOf<F>> {
  const entries = Object.entries(fields as Fields);
  return {
    describe: `{ ${entries.map(([name, field]) => `${name}: ${field.describe}`).join(', ')} }`,
    create: () => Object.fromEntries(entries.map(([name, field]) => [name, field.create()])) as ValuesOf<F>,
    save: (value) => Object.fromEntries(entries.map(([name, field]) => [name, field.save((value as Record<string, unknown>)[name])])),
    load(data, path) {
      if (typeof data !== 'object' || data === null) throw new VmError('bad-state', `${path}: expected a record`);
      const record = data as Record<string, unknown>;
      for (const name of Object.keys(record)) {
        if (!Object.hasOwn(fields, name)) throw new VmError('bad-state', `${path}.${name}: unknown field`);
      }
      return Object.fromEntries(entries.map(([name, field]) => [name, field.load(record[name], `${path}.${name}`)])) as ValuesOf<F>;
    },
  };
}

/** A named, versioned record of state. */
export interface Schema<S extends object> {
  readonly name: string;
  readonly version: number;
  readonly describe: string;
  create(): S;
  save(state: S): unknown;
  load(data: unknown): S;
}

export type StateOf<T> = T extends Schema<infer S> ? S : never;

export function defineState<F extends { readonly [name: string]: Field<any> }>(
  name: string,
  version: number,
  fields: F,
): Schema<ValuesOf<F>> {
  const record = struct(fields);
  return {
    name,
    version,
    describe: record.describe,
    create: () => record.create(),
    save: (state) => record.save(state),
    load: (data) => record.load(data, name),
  };
}
