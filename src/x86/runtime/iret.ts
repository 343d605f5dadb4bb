/**
 * IRETQ at CPL 0 to 64-bit code, the common case: what is rare, or faults, is the system routine's (system/iret.ts), and
 * nothing has changed then. SDM vol. 2, IRET/IRETD/IRETQ.
 */
import * as L from './layout';
import { hostForRead, isCanonical } from './mmu';
import {
  ACCESSED, CODE, CONFORMING, CS, DPL, DS, ES, FS, GS, PRESENT, S, SS, UNUSABLE, WRITABLE,
  attributesOf, descriptorAt, isPlainCode, setNullStack, setSegment, updateStackMask,
} from './segments'; // prettier-ignore
import { selectTlb } from './tlb';

const RSP: u32 = L.GPR + 4 * 8;

// RFLAGS
const ARITHMETIC: u32 = 0x8d5;
const NT: u32 = 1 << 14;
const AC: u32 = 1 << 18;
/** TF, IF, DF, IOPL, NT, RF, AC, VIF, VIP, ID */
const LOADED: u32 = 0x3d7700;

/** Host address of bytes in RAM that lie on one page and may be read; 0 otherwise, with no fault recorded. */
function readable(va: u64, bytes: u32): u32 {
  if ((<u32>va & 0xfff) + bytes > 4096) return 0;
  const cr2 = load<u64>(L.CR2);
  const host = hostForRead(va);
  if (!host) store<u64>(L.CR2, cr2);
  return host;
}

/** Host address of the descriptor of a selector, or 0. */
function descriptorOf(selector: u32): u32 {
  const address = descriptorAt(selector);
  return address ? readable(address, 8) : 0;
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
  if (!isCanonical(target) || (level != 0 && level != 3)) return 0;
  const code = descriptorOf(selector);
  if (!code || !isPlainCode(code, level)) return 0;
  let stack: u32 = 0;
  if (stackSelector & 0xfffc) {
    stack = descriptorOf(stackSelector);
    const writable = S | WRITABLE | PRESENT | ACCESSED | (level << 5);
    if (!stack || (stackSelector & 3) != level || (attributesOf(stack) & (writable | CODE | DPL)) != writable) return 0;
  } else if (stackSelector != 0 || level != 0) return 0;
  if (level && (dropped(ES) || dropped(DS) || dropped(FS) || dropped(GS))) return 0;

  const image = load<u32>(frame, 16);
  const pointer = load<u64>(frame, 24);
  store<u64>(L.TRANSFER, target);
  store<u32>(L.TRANSFER, image & ARITHMETIC, 8);
  store<u32>(L.RFLAGS, (old & ~LOADED) | (image & LOADED));
  setSegment(CS, selector, code);
  if (stack) setSegment(SS, stackSelector, stack);
  else setNullStack();
  updateStackMask();
  store<u64>(RSP, pointer);
  store<u32>(L.CPL, level);
  selectTlb();
  return 1;
}
