/** Makes small archives for tests: ustar and ar, well-formed unless asked otherwise. */
import { concatBytes } from '../../base/bytes.ts';

export interface TestEntry {
  readonly path: string;
  /** Type flag as in the header: '0' file, '1' hard link, '2' symlink, '3' char, '5' directory… */
  readonly flag?: string;
  readonly content?: string | Uint8Array;
  readonly target?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly major?: number;
  readonly minor?: number;
}

const encoder = new TextEncoder();

export function bytesOf(content: string | Uint8Array | undefined): Uint8Array {
  return typeof content === 'string' ? encoder.encode(content) : (content ?? new Uint8Array());
}

export function tarHeader(entry: TestEntry, size: number): Uint8Array {
  const header = new Uint8Array(512);
  const put = (offset: number, text: string) => header.set(encoder.encode(text), offset);
  const octal = (offset: number, length: number, value: number) => put(offset, `${value.toString(8).padStart(length - 1, '0')}\0`);
  put(0, entry.path.slice(0, 100));
  octal(100, 8, entry.mode ?? (entry.flag === '5' ? 0o755 : 0o644));
  octal(108, 8, entry.uid ?? 0);
  octal(116, 8, entry.gid ?? 0);
  octal(124, 12, size);
  octal(136, 12, entry.mtime ?? 1_700_000_000);
  put(156, entry.flag ?? '0');
  put(157, (entry.target ?? '').slice(0, 100));
  put(257, 'ustar\x0000');
  octal(329, 8, entry.major ?? 0);
  octal(337, 8, entry.minor ?? 0);
  return withChecksum(header);
}

export function withChecksum(header: Uint8Array): Uint8Array {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.set(encoder.encode(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
  return header;
}

export function padded(data: Uint8Array, block: number): Uint8Array {
  const out = new Uint8Array(Math.ceil(data.length / block) * block);
  out.set(data);
  return out;
}

export function makeTar(entries: readonly TestEntry[]): Uint8Array {
  const parts = entries.flatMap((entry) => {
    const content = bytesOf(entry.content);
    return [tarHeader(entry, content.length), padded(content, 512)];
  });
  return concatBytes([...parts, new Uint8Array(1024)]);
}

export function makeAr(members: readonly (readonly [string, string | Uint8Array])[]): Uint8Array {
  const parts: Uint8Array[] = [encoder.encode('!<arch>\n')];
  for (const [name, content] of members) {
    const data = bytesOf(content);
    const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(data.length).padEnd(10)}\`\n`;
    parts.push(encoder.encode(header), padded(data, 2));
  }
  return concatBytes(parts);
}

/** A .deb with these control fields and files. */
export function makeDeb(control: string, entries: readonly TestEntry[], more: readonly TestEntry[] = []): Uint8Array {
  return makeAr([
    ['debian-binary', '2.0\n'],
    ['control.tar', makeTar([{ path: './control', content: control }, ...more])],
    ['data.tar', makeTar(entries)],
  ]);
}
