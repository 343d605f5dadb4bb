/** Sizes of guest memory as people write them. */

const UNITS: Readonly<Record<string, number>> = { '': 2 ** 20, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** For messages. */
export const MEMORY_EXPECTED = 'expected a size from 16 (MiB) to 3G, for example 512 or 2G';

/** `512` (MiB), `512M`, `2G` in bytes; undefined when it is none or out of range. */
export function memoryBytes(text: string): number | undefined {
  const match = /^(\d+)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  const bytes = match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : Number.NaN;
  return Number.isSafeInteger(bytes) && bytes >= 16 * 2 ** 20 && bytes <= 3 * 2 ** 30 ? bytes : undefined;
}
