/**
 * Reader of tar archives in memory: ustar and pax (POSIX.1-2017, pax), GNU long names and base-256 numbers
 * (GNU tar manual, "Basic Tar Format"). Input is untrusted; names are given as they stand and checked by the tree.
 */
import { VmError } from '../base/errors.ts';

const BLOCK_BYTES = 512;
/** Longest name, link target or pax header taken: far more than any kernel takes. */
const MAX_META_BYTES = 1 << 20;

export type TarType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

export interface TarEntry {
  readonly type: TarType;
  readonly path: string;
  /** Target of a link or symlink, else empty. */
  readonly target: string;
  /** Permission bits with set-id and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since 1970. */
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Content of a file as a view into the archive, else empty. */
  readonly data: Uint8Array;
}

const TYPES: Record<string, TarType> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

const utf8 = new TextDecoder();
const EMPTY = new Uint8Array();
type PaxRecords = Map<string, Uint8Array>;

/** Entries in order. `name` is for the message. Throws `bad-image` on damage, `unsupported` on sparse files. */
export function* readTar(name: string, data: Uint8Array): Generator<TarEntry> {
  const bad = (what: string): never => {
    throw new VmError('bad-image', `${name}: not a sound tar archive: ${what}`);
  };
  const global: PaxRecords = new Map();
  let local: PaxRecords = new Map();
  let longName: string | undefined;
  let longTarget: string | undefined;

  for (let at = 0; at + BLOCK_BYTES <= data.length;) {
    const header = data.subarray(at, at + BLOCK_BYTES);
    if (header.every((byte) => byte === 0)) return;
    const where = `at byte ${at}`;
    if (!checksumFits(header)) bad(`wrong header checksum ${where}`);
    const number = (from: number, length: number, what: string): number =>
      parseNumber(header.subarray(from, from + length)) ?? bad(`bad ${what} ${where}`);
    const size = local.has('size') ? (paxNumber(local, 'size') ?? bad(`bad pax size ${where}`)) : number(124, 12, 'size');
    const flag = String.fromCharCode(header[156]!);
    const start = at + BLOCK_BYTES;
    if (start + size > data.length) bad(`the entry ${where} is cut short`);
    const content = data.subarray(start, start + size);
    at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;

    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      if (size > MAX_META_BYTES) bad(`a header of ${size} bytes ${where}`);
      if (flag === 'L') longName = cString(content);
      else if (flag === 'K') longTarget = cString(content);
      else readPax(content, flag === 'g' ? global : local, () => bad(`bad pax header ${where}`));
      continue;
    }

    const pax = (key: string) => local.get(key) ?? global.get(key);
    const paxText = (key: string) => {
      const value = pax(key);
      return value && utf8.decode(value);
    };
    if (flag === 'S' || [...local.keys()].some((key) => key.startsWith('GNU.sparse'))) {
      throw new VmError('unsupported', `${name}: sparse files in tar archives are not supported`);
    }
    const type = TYPES[flag] ?? bad(`unknown entry type "${flag}" ${where}`);
    const ustar = utf8.decode(header.subarray(257, 262)) === 'ustar' && header[262] === 0;
    const prefix = ustar ? cString(header.subarray(345, 500)) : '';
    const short = cString(header.subarray(0, 100));
    const path = paxText('path') ?? longName ?? (prefix ? `${prefix}/${short}` : short);
    const device = type === 'char' || type === 'block';
    yield {
      // Old archives mark a directory by a slash at the end only.
      type: type === 'file' && path.endsWith('/') ? 'directory' : type,
      path,
      target: type === 'link' || type === 'symlink' ? (paxText('linkpath') ?? longTarget ?? cString(header.subarray(157, 257))) : '',
      mode: number(100, 8, 'mode') & 0o7777,
      uid: paxNumber(local, 'uid') ?? number(108, 8, 'owner'),
      gid: paxNumber(local, 'gid') ?? number(116, 8, 'group'),
      mtime: Math.floor(paxNumber(local, 'mtime') ?? number(136, 12, 'time')),
      major: device ? number(329, 8, 'device number') : 0,
      minor: device ? number(337, 8, 'device number') : 0,
      xattrs: xattrsOf(local),
      data: type === 'file' ? content : EMPTY,
    };
    local = new Map();
    longName = undefined;
    longTarget = undefined;
  }
  bad('it ends without an end mark');
}

function checksumFits(header: Uint8Array): boolean {
  let sum = 0;
  for (let i = 0; i < BLOCK_BYTES; i++) sum += i >= 148 && i < 156 ? 0x20 : header[i]!;
  return parseNumber(header.subarray(148, 156)) === sum;
}

/** Octal text, or base-256 when the top bit is set. Undefined when it is neither, negative, or beyond exact numbers. */
function parseNumber(field: Uint8Array): number | undefined {
  if (field[0]! & 0x80) {
    let value = field[0]! & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const text = cString(field).trim();
  if (text === '') return 0;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

function cString(field: Uint8Array): string {
  const end = field.indexOf(0);
  return utf8.decode(end < 0 ? field : field.subarray(0, end));
}

/** Records of the form `LENGTH KEY=VALUE\n`, LENGTH counting all of it. */
function readPax(content: Uint8Array, into: PaxRecords, bad: () => never): void {
  for (let at = 0; at < content.length && content[at] !== 0;) {
    const space = content.indexOf(0x20, at);
    if (space < 0 || space - at > 10) bad();
    const digits = utf8.decode(content.subarray(at, space));
    const end = at + Number(digits);
    const equals = content.indexOf(0x3d, space);
    if (!/^\d+$/.test(digits) || end > content.length || equals < 0 || equals >= end || content[end - 1] !== 0x0a) bad();
    into.set(utf8.decode(content.subarray(space + 1, equals)), content.slice(equals + 1, end - 1));
    at = end;
  }
}

function paxNumber(records: PaxRecords, key: string): number | undefined {
  const value = records.get(key);
  if (!value) return undefined;
  const number = Number(utf8.decode(value));
  return Number.isFinite(number) && number >= 0 && number <= Number.MAX_SAFE_INTEGER ? number : undefined;
}

function xattrsOf(records: PaxRecords): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const [key, value] of records) if (key.startsWith('SCHILY.xattr.')) found.set(key.slice(13), value);
  return found;
}
