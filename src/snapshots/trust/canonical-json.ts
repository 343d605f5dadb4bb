/**
 * The one form of a JSON value that signatures are made over: OLPC's canonical JSON, as The Update Framework has it. Keys sorted, no
 * spaces, only `"` and `\` escaped, whole numbers only.
 */
import { VmError } from '../../base/errors.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Throws VmError `bad-signature` for what has no canonical form. */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`;
  if (typeof value === 'boolean' || value === null) return String(value);
  if (Number.isSafeInteger(value)) return String(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, inner]) => `${canonicalJson(key)}:${canonicalJson(inner)}`).join(',')}}`;
  }
  throw new VmError('bad-signature', `signed metadata can hold no ${typeof value} such as ${String(value)}`);
}

export function canonicalBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(canonicalJson(value));
}
