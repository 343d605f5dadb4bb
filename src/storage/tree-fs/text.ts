/** Names as the file system keeps them: machine/backends.ts says how. */

/** Bytes that a name has in UTF-8, where a lone surrogate stands for one byte. */
export function utf8Length(text: string): number {
  let length = 0;
  for (const char of text) {
    const code = char.codePointAt(0)!;
    length += code < 0x80 || (code >= 0xd800 && code < 0xe000) ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
  }
  return length;
}
