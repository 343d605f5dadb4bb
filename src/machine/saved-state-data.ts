/** A machine's plain data (`machine/state.ts`) as JSON: bytes become `{"$bytes": base64}`, 64-bit integers `{"$u64": hex}`. */
import { VmError } from '../base/errors.ts';

type Tagged = { readonly $bytes: string } | { readonly $u64: string };

const HEX = /^[0-9a-f]{1,16}$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
/** `String.fromCharCode` takes so many arguments everywhere. */
const CHUNK = 0x2000;

/** No field's name begins with a dollar sign. */
export function dataToText(data: unknown): string {
  return JSON.stringify(data, (_key, value: unknown): unknown => {
    if (typeof value === 'bigint') return { $u64: value.toString(16) } satisfies Tagged;
    if (value instanceof Uint8Array) return { $bytes: toBase64(value) } satisfies Tagged;
    return value;
  });
}

/** Throws `bad-state` for what is not JSON. What it means is for the schemas to check. */
export function textToData(text: string, name: string): unknown {
  try {
    return JSON.parse(text, (_key, value: unknown): unknown => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      const [entry, ...more] = Object.entries(value);
      if (!entry || more.length > 0 || typeof entry[1] !== 'string') return value;
      if (entry[0] === '$u64' && HEX.test(entry[1])) return BigInt(`0x${entry[1]}`);
      if (entry[0] === '$bytes' && BASE64.test(entry[1])) return Uint8Array.from(atob(entry[1]), (char) => char.charCodeAt(0));
      return value;
    });
  } catch (cause) {
    throw new VmError('bad-state', `${name}: the description of the machine cannot be read`, cause);
  }
}

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}
