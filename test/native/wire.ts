/** The formats between native.ts and runner.c, whose structs `batch`, `guest_case`, `result` and `patch` they are. */
import { FP_SIZE, RESULT_KINDS, type Case, type Patch, type Result } from './case.ts';
import { DATA_SIZE } from './layout.ts';

export const FILE_SIZE = 64 << 20;
const BATCH_HEADER = 64;
const CASE_HEADER = 184;
const RESULT_HEADER = 208;
const MASK_32 = 0xffff_ffff;

const align = (n: number, to: number): number => (n + to - 1) & -to;

const caseSize = (c: Case): number => {
  let size = CASE_HEADER + align(c.code.length, 8);
  for (const patch of c.patches) size += 8 + align(patch.bytes.length, 8);
  return size;
};

/** Packs a batch, for the start of the runner's file. */
export function encodeBatch(cases: readonly Case[]): Uint8Array {
  const fps = new Map<Uint8Array, number>();
  const images = new Map<Uint8Array, number>();
  let caseBytes = 0;
  for (const c of cases) {
    if (!fps.has(c.fp)) fps.set(c.fp, fps.size);
    if (!images.has(c.image)) images.set(c.image, images.size);
    caseBytes += caseSize(c);
  }
  const fpOffset = BATCH_HEADER;
  const imageOffset = fpOffset + fps.size * FP_SIZE;
  const casesOffset = imageOffset + images.size * DATA_SIZE;
  const total = casesOffset + caseBytes;
  if (total > FILE_SIZE) throw new RangeError(`a batch of ${total} bytes is too large`);
  const bytes = new Uint8Array(total);
  const words = new Uint32Array(bytes.buffer);
  const longs = new BigUint64Array(bytes.buffer);
  words.set([cases.length, fps.size, images.size, casesOffset, fpOffset, imageOffset]);
  for (const [fp, i] of fps) bytes.set(fp, fpOffset + i * FP_SIZE);
  for (const [image, i] of images) bytes.set(image, imageOffset + i * DATA_SIZE);
  let at = casesOffset;
  for (const c of cases) {
    const word = at >>> 2;
    words[word] = caseSize(c);
    words[word + 1] = c.mode | (c.code.length << 16);
    words[word + 2] = c.patches.length;
    words[word + 3] = fps.get(c.fp)!;
    words[word + 4] = images.get(c.image)!;
    words[word + 6] = c.rip & MASK_32;
    words[word + 7] = Math.floor(c.rip / 2 ** 32);
    words[word + 8] = c.rflags;
    longs[(at >>> 3) + 5] = c.fsBase;
    longs[(at >>> 3) + 6] = c.gsBase;
    longs.set(c.gprs, (at >>> 3) + 7);
    at += CASE_HEADER;
    bytes.set(c.code, at);
    at += align(c.code.length, 8);
    for (const patch of c.patches) {
      words[at >>> 2] = patch.offset;
      words[(at >>> 2) + 1] = patch.bytes.length;
      bytes.set(patch.bytes, at + 8);
      at += 8 + align(patch.bytes.length, 8);
    }
  }
  return bytes;
}

/** Where the runner leaves the number of cases done and the length of their results. */
export const BATCH_OUTCOME = { offset: 24, length: 8 } as const;

/** Unpacks results; their arrays are views of `bytes`, which must be 8-aligned in its buffer. */
export function decodeResults(bytes: Uint8Array, cases: readonly Case[], count: number): Result[] {
  const { buffer, byteOffset } = bytes;
  const words = new Uint32Array(buffer, byteOffset, bytes.length >>> 2);
  const longs = new BigUint64Array(buffer, byteOffset, bytes.length >>> 3);
  const results: Result[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const word = at >>> 2;
    const long = at >>> 3;
    const length = words[word]!;
    const fpChanged = bytes[at + 7] !== 0;
    let rest = at + RESULT_HEADER;
    let fp = cases[i]!.fp;
    if (fpChanged) {
      fp = bytes.subarray(rest, rest + FP_SIZE);
      rest += FP_SIZE;
    }
    const changes: Patch[] = [];
    for (let n = words[word + 50]!; n > 0; n--) {
      const size = words[(rest >>> 2) + 1]!;
      changes.push({ offset: words[rest >>> 2]!, bytes: bytes.subarray(rest + 8, rest + 8 + size) });
      rest += 8 + align(size, 8);
    }
    results.push({
      kind: RESULT_KINDS[bytes[at + 4]!]!,
      vector: bytes[at + 5]!,
      signal: bytes[at + 6]!,
      errorCode: words[word + 2]!,
      siCode: words[word + 3]! | 0,
      cr2: longs[long + 2]!,
      rip: longs[long + 3]!,
      rflags: words[word + 8]!,
      gprs: longs.subarray(long + 5, long + 21),
      fsBase: longs[long + 21]!,
      gsBase: longs[long + 22]!,
      selectors: new Uint16Array(buffer, byteOffset + at + 184, 6),
      fp,
      changes,
    });
    at += length;
  }
  return results;
}
