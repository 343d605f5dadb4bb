/** Code and stack segments, as far as the runtime loads them itself: descriptors of the global table. SDM vol. 3, 3.4.5. */
import * as L from './layout';

export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const TR = 7;

// Attributes, as in a VMCS access-rights field
export const ACCESSED: u32 = 1;
export const WRITABLE: u32 = 2;
export const CONFORMING: u32 = 4;
export const CODE: u32 = 8;
export const S: u32 = 0x10;
export const DPL: u32 = 0x60;
export const PRESENT: u32 = 0x80;
export const LONG: u32 = 0x2000;
export const BIG: u32 = 0x4000;
export const GRANULAR: u32 = 0x8000;
export const UNUSABLE: u32 = 0x10000;

/** Linear address of a descriptor in the global table, or 0: a null selector, a local one, or beyond the table. */
export function descriptorAt(selector: u32): u64 {
  const index = selector & 0xfff8;
  return selector & 4 || index == 0 || index + 7 > load<u32>(L.GDTR_LIMIT) ? 0 : load<u64>(L.GDTR_BASE) + index;
}

/** @param descriptor its host address */
export function attributesOf(descriptor: u32): u32 {
  return (load<u8>(descriptor, 5) as u32) | (((load<u8>(descriptor, 6) as u32) & 0xf0) << 8);
}

/** Whether a descriptor is one of 64-bit code at a privilege level that need not be marked as accessed. */
export function isPlainCode(descriptor: u32, level: u32): bool {
  const wanted = S | CODE | PRESENT | ACCESSED | LONG | (level << 5);
  return (attributesOf(descriptor) & (wanted | CONFORMING | BIG | DPL)) == wanted;
}

export function setSegment(segment: u32, selector: u32, descriptor: u32): void {
  const low = load<u32>(descriptor);
  const high = load<u32>(descriptor, 4);
  const attributes = attributesOf(descriptor);
  const limit = (low & 0xffff) | (high & 0xf0000);
  store<u32>(L.SEG_SELECTOR + segment * 4, selector);
  store<u64>(L.SEG_BASE + segment * 8, (low >> 16) | ((high & 0xff) << 16) | (high & 0xff000000));
  store<u32>(L.SEG_LIMIT + segment * 4, attributes & GRANULAR ? (limit << 12) | 0xfff : limit);
  store<u32>(L.SEG_ATTR + segment * 4, attributes);
}

/** The null stack segment of the kernel in 64-bit mode. */
export function setNullStack(): void {
  store<u32>(L.SEG_SELECTOR + SS * 4, 0);
  store<u32>(L.SEG_ATTR + SS * 4, UNUSABLE);
}

/** After a change of the stack segment. */
export function updateStackMask(): void {
  store<u32>(L.STACK_MASK, load<u32>(L.SEG_ATTR + SS * 4) & BIG ? 0xffffffff : 0xffff);
}
