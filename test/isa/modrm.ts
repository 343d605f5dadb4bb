/** Memory operands: picks a form of address and sets registers so that it names a chosen place. SDM vol. 2, 2.1.5. */
import { FP } from '../native/case.ts';
import { DATA_LOW } from '../native/layout.ts';
import type { CaseBuilder } from './builder.ts';

export interface MemoryOperand {
  /** ModRM without its reg field, SIB and displacement; RIP-relative displacements are still to be filled in. */
  readonly bytes: number[];
  /** REX.X and REX.B. */
  readonly x: number;
  readonly b: number;
  /** Linear address that a RIP-relative form must reach. */
  readonly relativeTo: bigint | undefined;
}

export interface AddressContext {
  readonly addressSize: 16 | 32 | 64;
  /** Base of the segment used. */
  readonly base: bigint;
}

const le = (value: bigint, bytes: number): number[] => Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
const sign = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value);

const INDEX_16 = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]] as const; // prettier-ignore

function memory16(c: CaseBuilder, ea: bigint): MemoryOperand {
  const { random, gprs } = c;
  const rm = random.below(8);
  const mod = random.below(3);
  if (mod === 0 && rm === 6) return { bytes: [0x06, ...le(ea, 2)], x: 0, b: 0, relativeTo: undefined };
  const displacement = mod === 0 ? 0n : mod === 1 ? sign(random.bigint(8), 8) : random.bigint(16);
  const [first, second] = INDEX_16[rm]!;
  let sum = displacement;
  if (second !== undefined) sum += gprs[second]! & 0xffffn;
  gprs[first] = (gprs[first]! & ~0xffffn) | BigInt.asUintN(16, ea - sum);
  return { bytes: [(mod << 6) | rm, ...le(displacement, mod)], x: 0, b: 0, relativeTo: undefined };
}

/** `ea`: the effective address to reach, in the address size. */
export function encodeMemory(c: CaseBuilder, ea: bigint, { addressSize, base: segmentBase }: AddressContext): MemoryOperand {
  if (addressSize === 16) return memory16(c, ea);
  const { random, gprs } = c;
  const long = c.mode === 64;
  const registers = long ? 16 : 8;
  const cut = (value: bigint): bigint => BigInt.asUintN(addressSize, value);
  const give = (register: number, value: bigint): void => {
    const garbage = addressSize === 32 && long && random.chance(50) ? random.bigint(64) & ~0xffff_ffffn : 0n;
    gprs[register] = cut(value) | garbage;
  };
  const kind = random.below(100);
  if (kind < 12 && (!long || BigInt.asUintN(addressSize, sign(ea, 32)) === ea) && (kind < 6 || !long)) {
    // No register: through SIB in 64-bit mode, where the short form means RIP-relative.
    const short = !long && random.chance(50);
    return { bytes: [...(short ? [0x05] : [0x04, 0x25 | (random.below(4) << 6)]), ...le(ea, 4)], x: 0, b: 0, relativeTo: undefined };
  }
  if (kind < 24 && long) {
    const near = ea - BigInt(c.rip);
    if (near > -0x7fff_0000n && near < 0x7fff_0000n && segmentBase === 0n) {
      return { bytes: [0x05, 0, 0, 0, 0], x: 0, b: 0, relativeTo: ea };
    }
  }
  const base = random.chance(95) || segmentBase !== 0n ? random.below(registers) : 5;
  const displacementSize = random.pick([0, 1, 1, 4]);
  let displacement = displacementSize === 0 ? 0n : sign(random.bigint(8 * displacementSize), 8 * displacementSize);
  if (displacementSize === 4 && random.chance(50)) displacement = BigInt(random.below(0x2000) - 0x1000);
  const noIndex = kind < 60 && (base & 7) !== 4;
  if (noIndex) {
    const mod = displacementSize === 0 && (base & 7) !== 5 ? 0 : displacementSize <= 1 ? 1 : 2;
    give(base, ea - displacement);
    return {
      bytes: [(mod << 6) | (base & 7), ...le(displacement, mod === 0 ? 0 : mod === 1 ? 1 : 4)],
      x: 0,
      b: base >> 3,
      relativeTo: undefined,
    };
  }
  const scale = random.below(4);
  const index = random.chance(15) ? 4 : random.below(registers);
  if (random.chance(15) && index !== 4) {
    // Index without base, always with a long displacement.
    const place = sign(ea, 32);
    if (BigInt.asUintN(addressSize, place) !== ea) return encodeMemory(c, ea, { addressSize, base: segmentBase });
    const value = BigInt(random.below(0x4000));
    give(index, random.chance(20) ? -value : value);
    const left = cut(ea - (cut(gprs[index]!) << BigInt(scale)));
    return { bytes: [0x04, 0x05 | ((index & 7) << 3) | (scale << 6), ...le(left, 4)], x: index >> 3, b: 0, relativeTo: undefined };
  }
  const mod = displacementSize === 0 && (base & 7) !== 5 ? 0 : displacementSize <= 1 ? 1 : 2;
  let left = ea - displacement;
  if (index === 4) {
    give(base, left); // no index
  } else if (index === base) {
    // base * (1 + scale) + displacement: only reachable with a displacement for the remainder.
    const parts = 1n + (1n << BigInt(scale));
    give(base, ea / parts);
    displacement = ea - cut(gprs[base]!) * parts;
    return {
      bytes: [0x84, ((index & 7) << 3) | (base & 7) | (scale << 6), ...le(displacement, 4)],
      x: index >> 3,
      b: base >> 3,
      relativeTo: undefined,
    };
  } else {
    if (random.chance(70)) give(index, BigInt(random.below(0x1000) - 0x200));
    left -= cut(gprs[index]!) << BigInt(scale);
    give(base, left);
  }
  return {
    bytes: [(mod << 6) | 4, ((index & 7) << 3) | (base & 7) | (scale << 6), ...le(displacement, mod === 0 ? 0 : mod === 1 ? 1 : 4)],
    x: index >> 3,
    b: base >> 3,
    relativeTo: undefined,
  };
}

/** Base plus a vector of indexes (VSIB): the elements are set so that most of them land near `ea`. */
export function encodeVectorMemory(c: CaseBuilder, ea: bigint, addressSize: number, indexBytes: 4 | 8, index: number): MemoryOperand {
  const { random } = c;
  const scale = random.below(4);
  const base = random.below(c.mode === 64 ? 16 : 8);
  const displacement = BigInt(random.below(256) - 128);
  c.gprs[base] = BigInt.asUintN(addressSize, ea - displacement);
  const elements = new DataView(c.fp.buffer, c.fp.byteOffset);
  for (let at = 0; at < 32; at += indexBytes) {
    if (random.chance(4)) continue;
    const value = BigInt(random.below(random.chance(90) ? 64 : 2000) * (random.chance(80) ? 1 : -1));
    const place = at < 16 ? FP.xmm + 16 * index + at : FP.ymmHigh + 16 * index + at - 16;
    if (indexBytes === 8) elements.setBigInt64(place, value, true);
    else elements.setInt32(place, Number(value), true);
  }
  return {
    bytes: [0x44, (scale << 6) | ((index & 7) << 3) | (base & 7), ...le(displacement, 1)],
    x: index >> 3,
    b: base >> 3,
    relativeTo: undefined,
  };
}

/** The effective address that reaches a linear one through a segment. */
export function effectiveFor(linear: bigint, context: AddressContext): bigint {
  return BigInt.asUintN(context.addressSize, linear - context.base);
}

/** Base of a data segment without an override. */
export function defaultBase(c: CaseBuilder): bigint {
  return c.mode === 16 ? BigInt(DATA_LOW) : 0n;
}
