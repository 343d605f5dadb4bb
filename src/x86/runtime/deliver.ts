/**
 * Delivery of page faults in 64-bit code, the common case: to CPL 0 through a plain gate, on the stack that the TSS names or on the present
 * one. What is rare, or faults in its turn, is the processor's (system/interrupts.ts), and nothing has changed then. SDM vol. 3, 6.14.
 */
import * as L from './layout';
import { IMPLICIT, isCanonical, systemRead, systemWrite } from './mmu';
import { CS, SS, TR, descriptorAt, isPlainCode, setNullStack, setSegment, updateStackMask } from './segments';
import { selectTlb } from './tlb';

const PAGE_FAULT: u32 = 14;
const INTERRUPT_GATE: u32 = 0x8e;
const TRAP_GATE: u32 = 0x8f;
const RSP: u32 = L.GPR + 4 * 8;
const EFER_LMA: u32 = 1 << 10;
const RFLAGS_FIXED: u32 = 2;
const IF: u32 = 1 << 9;
const NT: u32 = 1 << 14;
const RF: u32 = 1 << 16;

/** Error code, RIP, CS, RFLAGS, RSP, SS. */
const FRAME_BYTES: u32 = 48;

/** RFLAGS as they are pushed: see flags.ts for how the arithmetic ones are kept. */
function flagsImage(): u32 {
  const result = load<u64>(L.FLAG_RES);
  const parity: u32 = popcnt<u32>(<u32>result & 0xff) & 1 ? 0 : 4;
  const zero: u32 = result == 0 ? 0x40 : 0;
  const sign: u32 = <i64>result < 0 ? 0x80 : 0;
  return load<u32>(L.RFLAGS) | RFLAGS_FIXED | ((parity | zero | sign) ^ load<u32>(L.FLAG_AUX));
}

/** Reads into SCRATCH; a fault on the way is nobody's business yet. */
function peek(va: u64, bytes: u32): bool {
  return systemRead(va, L.SCRATCH, bytes, IMPLICIT) != 0;
}

/**
 * Delivers the page fault that has been recorded, of an instruction at a linear address; its target is at TRANSFER then. False when the
 * processor has to do it.
 */
export function deliverPageFault(address: u64): i32 {
  if (load<u32>(L.FAULT_VECTOR) != PAGE_FAULT || load<u32>(L.CODE_MODE) != 2) return 0;
  // Stepping, breakpoints, and whatever waits for an instruction boundary
  if (load<u32>(L.PENDING) || load<u32>(L.DR7) & 0xff || !(load<u32>(L.EFER) & EFER_LMA)) return 0;
  const cr2 = load<u64>(L.CR2);
  const error = load<u32>(L.FAULT_ERROR);
  if (deliver(address, error)) return 1;
  store<u64>(L.CR2, cr2);
  store<u32>(L.FAULT_VECTOR, PAGE_FAULT);
  store<u32>(L.FAULT_ERROR, error);
  return 0;
}

function deliver(address: u64, error: u32): bool {
  const cpl = load<u32>(L.CPL);
  if (cpl != 0 && cpl != 3) return false;
  if (PAGE_FAULT * 16 + 15 > load<u32>(L.IDTR_LIMIT) || !peek(load<u64>(L.IDTR_BASE) + PAGE_FAULT * 16, 16)) return false;
  const low = load<u32>(L.SCRATCH);
  const middle = load<u32>(L.SCRATCH, 4);
  const target = <u64>((middle & 0xffff0000) | (low & 0xffff)) | (<u64>load<u32>(L.SCRATCH, 8) << 32);
  // Of any privilege, without a stack of its own
  const type = (middle >> 8) & 0x9f;
  if ((type != INTERRUPT_GATE && type != TRAP_GATE) || middle & 7 || !isCanonical(target)) return false;
  const selector = low >> 16;
  let stack = load<u64>(RSP);
  if (cpl == 3) {
    if (load<u32>(L.SEG_LIMIT + TR * 4) < 11 || !peek(load<u64>(L.SEG_BASE + TR * 8) + 4, 8)) return false;
    stack = load<u64>(L.SCRATCH);
  }
  const descriptor = descriptorAt(selector);
  if (!isCanonical(stack) || !descriptor || !peek(descriptor, 8) || !isPlainCode(L.SCRATCH, 0)) return false;

  const pointer = (stack & ~15) - FRAME_BYTES;
  store<u64>(L.TRANSFER, error);
  store<u64>(L.TRANSFER, address, 8);
  store<u64>(L.TRANSFER, load<u32>(L.SEG_SELECTOR + CS * 4), 16);
  store<u64>(L.TRANSFER, flagsImage() | RF, 24);
  store<u64>(L.TRANSFER, load<u64>(RSP), 32);
  store<u64>(L.TRANSFER, load<u32>(L.SEG_SELECTOR + SS * 4), 40);
  if (!systemWrite(pointer, L.TRANSFER, FRAME_BYTES, 0)) return false;

  setSegment(CS, selector & ~3, L.SCRATCH);
  if (cpl == 3) {
    setNullStack();
    updateStackMask();
  }
  store<u32>(L.CPL, 0);
  store<u64>(RSP, pointer);
  store<u32>(L.RFLAGS, load<u32>(L.RFLAGS) & ~(NT | RF | (type == INTERRUPT_GATE ? IF : 0)));
  selectTlb();
  store<u64>(L.TRANSFER, target);
  return true;
}
