/**
 * A machine's plain data (`machine/state.ts`) as JSON and bytes beside it: byte strings become `{"$bytes": length}`, and stand beside
 * the text in the order in which it names them; 64-bit integers become `{"$u64": hex}`.
 */
import { VmError } from '../base/errors.ts';

type Tagged = { readonly $bytes: number } | { readonly $u64: string };

const HEX = /^[0-9a-f]{1,16}$/;

/** No field's name begins with a dollar sign. The byte strings are those of `data`, not copies. */
export function dataToText(data: unknown): { text: string; bytes: Uint8Array[] } {
  const bytes: Uint8Array[] = [];
  const text = JSON.stringify(data, (_key, value: unknown): unknown => {
    if (typeof value === 'bigint') return { $u64: value.toString(16) } satisfies Tagged;
    if (!(value instanceof Uint8Array)) return value;
    bytes.push(value);
    return { $bytes: value.length } satisfies Tagged;
  });
  return { text, bytes };
}

/**
 * Takes each byte string by its length from `take`, which answers undefined when so many are not there. Throws `bad-state` then, and
 * for what is not JSON. What it means is for the schemas to check.
 */
export function textToData(text: string, take: (length: number) => Uint8Array | undefined, name: string): unknown {
  try {
    return JSON.parse(text, (_key, value: unknown): unknown => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      const [entry, ...more] = Object.entries(value);
      if (!entry || more.length > 0) return value;
      const [key, told] = entry as [string, unknown];
      if (key === '$u64' && typeof told === 'string' && HEX.test(told)) return BigInt(`0x${told}`);
      if (key !== '$bytes' || typeof told !== 'number') return value;
      const bytes = take(told);
      if (!bytes) throw new VmError('bad-state', `${name}: the description of the machine has not the bytes that it names`);
      return bytes;
    });
  } catch (cause) {
    if (cause instanceof VmError) throw cause;
    throw new VmError('bad-state', `${name}: the description of the machine cannot be read`, cause);
  }
}
