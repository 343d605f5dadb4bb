/**
 * IRETQ at CPL 0 to 64-bit code, the common case: what is rare, or faults, is the system routine's (system/iret.ts), and
 * nothing has changed then. SDM vol. 2, IRET/IRETD/IRETQ.
 */
import * as L from './layout';
import { hostForRead } from './mmu';
import { selectTlb } from './tlb';

const CS = 1;
const SS = 2;
const ES = 0;
const DS = 3;
const FS = 4;
const GS = 5;
const RSP: u32 = L.GPR + 4 * 8;

// RFLAGS
const ARITHMETIC: u32 = 0x8d5;
const NT: u32 = 1 << 14;
const AC: u32 = 1 << 18;
/** TF, IF, DF, IOPL, NT, RF, AC, VIF, VIP, ID */
const LOADED: u32 = 0x3d7700;

// Segment attributes
const ACCESSED: u32 = 1;
const WRITABLE: u32 = 2;
const CONFORMING: u32 = 4;
const CODE: u32 = 8;
const S: u32 = 0x10;
const PRESENT: u32 = 0x80;
const LONG: u32 = 0x2000;
const BIG: u32 = 0x4000;
const GRANULAR: u32 = 0x8000;
const UNUSABLE: u32 = 0x10000;

/** Host address of bytes in RAM that lie on one page and may be read; 0 otherwise, with no fault recorded. */
function readable(va: u64, bytes: u32): u32 {
  if ((<u32>va & 0xfff) + bytes > 4096) return 0;
  const cr2 = load<u64>(L.CR2);
  const host = hostForRead(va);
  if (!host) store<u64>(L.CR2, cr2);
  return host;
}

/** Host address of a descriptor in the global table, or 0. */
function descriptorAt(selector: u32): u32 {
  const index = selector & 0xfff8;
  if (selector & 4 || index == 0 || index + 7 > load<u32>(L.GDTR_LIMIT)) return 0;
  return readable(load<u64>(L.GDTR_BASE) + index, 8);
}

function attributesOf(descriptor: u32): u32 {
  return (load<u8>(descriptor, 5) as u32) | (((load<u8>(descriptor, 6) as u32) & 0xf0) << 8);
}

function setSegment(segment: u32, selector: u32, descriptor: u32): void {
  const low = load<u32>(descriptor);
  const high = load<u32>(descriptor, 4);
  const attributes = attributesOf(descriptor);
  const limit = (low & 0xffff) | (high & 0xf0000);
  store<u32>(L.SEG_SELECTOR + segment * 4, selector);
  store<u64>(L.SEG_BASE + segment * 8, (low >> 16) | ((high & 0xff) << 16) | (high & 0xff000000));
  store<u32>(L.SEG_LIMIT + segment * 4, attributes & GRANULAR ? (limit << 12) | 0xfff : limit);
  store<u32>(L.SEG_ATTR + segment * 4, attributes);
}

/** Whether a data segment would have to become null on the way to CPL 3. */
function dropped(segment: u32): bool {
  const attributes = load<u32>(L.SEG_ATTR + segment * 4);
  if ((load<u32>(L.SEG_SELECTOR + segment * 4) & 0xfffc) == 0 && attributes & UNUSABLE) return false;
  return ((attributes >> 5) & 3) < 3 && (attributes & (S | CODE | CONFORMING)) != (S | CODE | CONFORMING);
}

/**
 * Does all of it but for the arithmetic flags and the jump: answers whether it did. The flags are at TRANSFER + 8 then,
 * and the instruction pointer at TRANSFER. The code is 64-bit, and the operand size 64 bits.
 */
export function interruptReturn(): i32 {
  const old = load<u32>(L.RFLAGS);
  // With data breakpoints, the stack's pages may be watched.
  if (load<u32>(L.CPL) || old & (NT | AC) || load<u32>(L.NMI_BLOCKED) || load<u32>(L.DR7) & 0xff) return 0;
  const frame = readable(load<u64>(RSP), 40);
  if (!frame) return 0;
  const target = load<u64>(frame);
  const selector: u32 = load<u16>(frame, 8);
  const stackSelector: u32 = load<u16>(frame, 32);
  const level = selector & 3;
  if ((<i64>(target << 16)) >> 16 != <i64>target || (level != 0 && level != 3)) return 0;
  const code = descriptorAt(selector);
  if (!code) return 0;
  const wanted = S | CODE | PRESENT | ACCESSED | LONG | (level << 5);
  if ((attributesOf(code) & (wanted | CONFORMING | BIG | 0x60)) != wanted) return 0;
  let stack: u32 = 0;
  if (stackSelector & 0xfffc) {
    stack = descriptorAt(stackSelector);
    const writable = S | WRITABLE | PRESENT | ACCESSED | (level << 5);
    if (!stack || (stackSelector & 3) != level || (attributesOf(stack) & (writable | CODE | 0x60)) != writable) return 0;
  } else if (stackSelector != 0 || level != 0) return 0;
  if (level && (dropped(ES) || dropped(DS) || dropped(FS) || dropped(GS))) return 0;

  const image = load<u32>(frame, 16);
  const pointer = load<u64>(frame, 24);
  store<u64>(L.TRANSFER, target);
  store<u32>(L.TRANSFER, image & ARITHMETIC, 8);
  store<u32>(L.RFLAGS, (old & ~LOADED) | (image & LOADED));
  setSegment(CS, selector, code);
  if (stack) setSegment(SS, stackSelector, stack);
  else {
    store<u32>(L.SEG_SELECTOR + SS * 4, 0);
    store<u32>(L.SEG_ATTR + SS * 4, UNUSABLE);
  }
  store<u32>(L.STACK_MASK, load<u32>(L.SEG_ATTR + SS * 4) & BIG ? 0xffffffff : 0xffff);
  store<u64>(RSP, pointer);
  store<u32>(L.CPL, level);
  selectTlb();
  return 1;
}
