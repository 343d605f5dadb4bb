/**
 * File names between bytes and strings, without loss: what is no UTF-8 becomes a lone surrogate, 0xDC00 + byte, and comes back as
 * that byte. Most names are ASCII, and are short: a loop is faster than a TextDecoder.
 */
const ESCAPE = 0xdc00;
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export function decodeName(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) return decodeAny(bytes);
    text += String.fromCharCode(byte);
  }
  return text;
}

function decodeAny(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    let text = '';
    for (let at = 0; at < bytes.length;) {
      const length = sequenceLength(bytes[at]!);
      try {
        if (at + length > bytes.length) throw new RangeError('cut short');
        text += strict.decode(bytes.subarray(at, at + length));
        at += length;
      } catch {
        text += String.fromCharCode(ESCAPE + bytes[at++]!);
      }
    }
    return text;
  }
}

function sequenceLength(first: number): number {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** Writes a name's bytes at `offset`; answers how many there are. They must have room: three for each unit do. */
export function encodeName(name: string, into: Uint8Array, offset: number): number {
  let at = offset;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit < 0x80) into[at++] = unit;
    else if (unit >= ESCAPE + 0x80 && unit < ESCAPE + 0x100) into[at++] = unit & 0xff;
    else {
      const char = String.fromCodePoint(name.codePointAt(i)!);
      at += encoder.encodeInto(char, into.subarray(at)).written;
      i += char.length - 1;
    }
  }
  return at - offset;
}

export function encodedName(name: string): Uint8Array {
  const bytes = new Uint8Array(3 * name.length);
  return bytes.slice(0, encodeName(name, bytes, 0));
}
