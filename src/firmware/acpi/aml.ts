/**
 * A small assembler for ACPI Machine Language: each function returns the bytes of one term. ACPI 6.5, section 20
 * (grammar) and 6.4 (resource descriptors).
 */
import { assert } from '../../base/errors.ts';

export type Aml = readonly number[];

const le = (value: number, length: number): number[] => {
  const bytes: number[] = [];
  let rest = value;
  for (let i = 0; i < length; i++) {
    bytes.push(rest % 256);
    rest = Math.floor(rest / 256);
  }
  return bytes;
};

const ascii = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));

/** PkgLength: the size of itself and of `body`. 20.2.4. */
function sized(body: Aml): number[] {
  const size = body.length;
  if (size + 1 <= 0x3f) return [size + 1, ...body];
  for (let extra = 1; extra <= 3; extra++) {
    const total = size + 1 + extra;
    if (total < 2 ** (4 + 8 * extra)) return [(extra << 6) | (total & 0xf), ...le(total >>> 4, extra), ...body];
  }
  throw new Error('bug: an AML term of 2^28 bytes');
}

/** NameString: `\_SB.PCI0`, `PICM`. Segments are padded with underscores. 20.2.2. */
export function path(text: string): number[] {
  const rooted = text.startsWith('\\');
  const names = (rooted ? text.slice(1) : text).split('.');
  for (const name of names) assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(name), `${text} is not an AML name`);
  const segments = names.flatMap((name) => ascii(name.padEnd(4, '_')));
  const prefix = names.length === 1 ? [] : names.length === 2 ? [0x2e] : [0x2f, names.length];
  return [...(rooted ? [0x5c] : []), ...prefix, ...segments];
}

export function integer(value: number): number[] {
  if (value === 0) return [0x00];
  if (value === 1) return [0x01];
  if (value < 2 ** 8) return [0x0a, value];
  if (value < 2 ** 16) return [0x0b, ...le(value, 2)];
  if (value < 2 ** 32) return [0x0c, ...le(value, 4)];
  return [0x0e, ...le(value, 8)];
}

export const text = (value: string): number[] => [0x0d, ...ascii(value), 0];
export const buffer = (bytes: Aml): number[] => [0x11, ...sized([...integer(bytes.length), ...bytes])];

export function packageOf(...elements: Aml[]): number[] {
  assert(elements.length <= 255, 'an AML Package has at most 255 elements');
  return [0x12, ...sized([elements.length, ...elements.flat()])];
}

export const name = (label: string, value: Aml): number[] => [0x08, ...path(label), ...value];
export const scope = (label: string, ...terms: Aml[]): number[] => [0x10, ...sized([...path(label), ...terms.flat()])];
export const device = (label: string, ...terms: Aml[]): number[] => [0x5b, 0x82, ...sized([...path(label), ...terms.flat()])];
export const method = (label: string, argCount: number, ...terms: Aml[]): number[] => [
  0x14,
  ...sized([...path(label), argCount, ...terms.flat()]),
];
export const arg = (index: number): number[] => [0x68 + index];
export const store = (value: Aml, target: Aml): number[] => [0x70, ...value, ...target];
/** Notify(object, code). 20.2.5.3. */
export const notify = (object: string, code: number): number[] => [0x86, ...path(object), ...integer(code)];
export const giveBack = (value: Aml): number[] => [0xa4, ...value];
export const when = (condition: Aml, ...terms: Aml[]): number[] => [0xa0, ...sized([...condition, ...terms.flat()])];

/** EISAID("PNP0A08"): three letters in 5 bits each, then four hexadecimal digits. 20.3.4. */
export function eisaId(id: string): number[] {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `${id} is not an EISA id`);
  const letter = (index: number): number => id.charCodeAt(index) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  return [0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff];
}

/** ResourceTemplate: descriptors with the end tag, whose checksum 0 means "not checked". 6.4.2.9. */
export const resources = (...descriptors: Aml[]): number[] => buffer([...descriptors.flat(), 0x79, 0]);

/** I/O port descriptor, 16-bit decode, fixed place. 6.4.2.5. */
export const ioPorts = (base: number, length: number): number[] => [0x47, 0x01, ...le(base, 2), ...le(base, 2), 1, length];

/** IRQ descriptor without flags: edge-triggered, active high, exclusive. 6.4.2.1. */
export const irq = (number: number): number[] => [0x22, ...le(2 ** number, 2)];

/** 32-bit fixed memory range, writable. 6.4.3.4. */
export const memory32 = (base: number, size: number): number[] => [0x86, 9, 0, 1, ...le(base, 4), ...le(size, 4)];

const MEMORY = 0;
const IO = 1;
const BUS_NUMBER = 2;
/** Producer, positive decode, minimum and maximum are fixed. 6.4.3.5.1, "General Flags". */
const WINDOW = 0x0c;
const ENTIRE_RANGE = 0x03;
const READ_WRITE = 0x01;
const PREFETCHABLE = 0x06;

/** Address space descriptor of a window that a bridge passes on, in fields of `width` bytes. 6.4.3.5. */
function window(tag: number, width: number, type: number, flags: number, base: number, size: number): number[] {
  const fields = [0, base, base + size - 1, 0, size].flatMap((value) => le(value, width));
  return [tag, ...le(3 + fields.length, 2), type, WINDOW, flags, ...fields];
}

export const busNumbers = (first: number, count: number): number[] => window(0x88, 2, BUS_NUMBER, 0, first, count);
export const ioWindow = (base: number, size: number): number[] => window(0x88, 2, IO, ENTIRE_RANGE, base, size);
export const memoryWindow = (base: number, size: number): number[] => window(0x87, 4, MEMORY, READ_WRITE, base, size);
export const memoryWindow64 = (base: number, size: number): number[] => window(0x8a, 8, MEMORY, READ_WRITE | PREFETCHABLE, base, size);
