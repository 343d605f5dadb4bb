/** Byte strings: joining and comparing. */

/** One array with the parts one after the other. A single part is returned as it is. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Whether `data` has `expected` at `offset`. */
export function startsWith(data: Uint8Array, expected: readonly number[], offset = 0): boolean {
  return expected.every((byte, index) => data[offset + index] === byte);
}
