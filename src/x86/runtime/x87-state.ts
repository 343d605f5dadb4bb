/**
 * The x87 unit's control: initialisation, environments and images of the whole state. Intel SDM vol. 1, 8.1.10 and 8.1.11.
 *
 * Selectors of the last instruction and operand are not kept and read as 0, as on processors that set CPUID.7.EBX[13].
 */
import { areaForRead, areaForWrite, finishWrite } from './area';
import * as L from './layout';
import { ES_B, slot } from './x87-stack';

/** Writable bits of the control word; bit 6 always reads as 1. */
const CONTROL_BITS = 0x1f3f;
const CONTROL_ONE = 0x40;
const RESET_CONTROL = 0x37f;
const TOP_SHIFT = 11;
const TOP_BITS = 0x3800;
const VM = 1 << 17;

/** FNINIT, but for the registers' contents. */
export function x87Initialize(): void {
  store<i32>(L.FCW, RESET_CONTROL);
  store<i32>(L.FSW, 0);
  store<i32>(L.FTOP, 0);
  store<i32>(L.FTAG, 0);
  store<i32>(L.FOP, 0);
  store<u64>(L.FIP, 0);
  store<u64>(L.FDP, 0);
}

/** FLDCW: unmasking an exception that was raised before makes it pending. */
export function x87SetControl(value: i32): void {
  store<i32>(L.FCW, (value & CONTROL_BITS) | CONTROL_ONE);
  x87SetStatus(load<i32>(L.FSW));
}

/** The status word without TOP: ES and B follow from flags and masks. */
export function x87SetStatus(value: i32): void {
  const status = value & ~(TOP_BITS | ES_B);
  store<i32>(L.FSW, status & ~load<i32>(L.FCW) & 0x3f ? status | ES_B : status);
}

/** The status word as FNSTSW stores it. */
export function x87Status(): i32 {
  return load<i32>(L.FSW) | (load<i32>(L.FTOP) << TOP_SHIFT);
}

/** Two bits a register: valid, zero, special, empty. */
function fullTags(): i32 {
  let tags = 0;
  const valid = load<i32>(L.FTAG);
  for (let i = 0; i < 8; i++) {
    let tag = 3;
    if (valid & (1 << i)) {
      const field = <i32>load<u16>(slot(i), 8) & 0x7fff;
      const significand = load<u64>(slot(i));
      if (field == 0 && significand == 0) tag = 1;
      else tag = field == 0 || field == 0x7fff || significand >> 63 == 0 ? 2 : 0;
    }
    tags |= tag << (i << 1);
  }
  return tags;
}

function setFullTags(tags: i32): void {
  let valid = 0;
  for (let i = 0; i < 8; i++) if (((tags >> (i << 1)) & 3) != 3) valid |= 1 << i;
  store<i32>(L.FTAG, valid);
}

/** Real-address and virtual-8086 mode have formats of their own. */
function isReal(): bool {
  return !(load<u32>(L.CR0) & 1) || (load<u32>(L.RFLAGS) & VM) != 0;
}

function writeEnvironment(to: u32, short: i32): void {
  const control = load<i32>(L.FCW);
  const tags = fullTags();
  const offset = <u32>load<u64>(L.FIP);
  const linear = offset + <u32>load<u64>(L.SEG_BASE + 8);
  const data = <u32>load<u64>(L.FDP);
  const opcode = <u32>load<i32>(L.FOP) & 0x7ff;
  if (short) {
    store<u16>(to, control);
    store<u16>(to, x87Status(), 2);
    store<u16>(to, tags, 4);
    if (isReal()) {
      store<u16>(to, linear, 6);
      store<u16>(to, ((linear >> 4) & 0xf000) | opcode, 8);
      store<u16>(to, data, 10);
      store<u16>(to, (data >> 4) & 0xf000, 12);
    } else {
      store<u16>(to, offset, 6);
      store<u16>(to, 0, 8);
      store<u16>(to, data, 10);
      store<u16>(to, 0, 12);
    }
    return;
  }
  store<u32>(to, 0xffff0000 | control);
  store<u32>(to, 0xffff0000 | x87Status(), 4);
  store<u32>(to, 0xffff0000 | tags, 8);
  if (isReal()) {
    store<u32>(to, 0xffff0000 | (linear & 0xffff), 12);
    store<u32>(to, ((linear >> 16) << 12) | opcode, 16);
    store<u32>(to, 0xffff0000 | (data & 0xffff), 20);
    store<u32>(to, (data >> 16) << 12, 24);
  } else {
    store<u32>(to, offset, 12);
    store<u32>(to, opcode << 16, 16);
    store<u32>(to, data, 20);
    store<u32>(to, 0xffff0000, 24);
  }
}

function readEnvironment(from: u32, short: i32): void {
  store<i32>(L.FCW, (<i32>load<u16>(from) & CONTROL_BITS) | CONTROL_ONE);
  const status = <i32>load<u16>(from + (short ? 2 : 4));
  store<i32>(L.FTOP, (status >> TOP_SHIFT) & 7);
  x87SetStatus(status);
  setFullTags(<i32>load<u16>(from + (short ? 4 : 8)));
  let instruction: u64;
  let data: u64;
  let opcode: i32 = 0;
  if (isReal()) {
    const word = short ? 2 : 4;
    const high: u32 = short ? <u32>load<u16>(from, 8) : load<u32>(from, 16);
    const dataHigh: u32 = short ? <u32>load<u16>(from, 12) : load<u32>(from, 24);
    const linear = <u32>load<u16>(from + 3 * word) | ((high & 0x0ffff000) << 4);
    instruction = <u64>(linear - <u32>load<u64>(L.SEG_BASE + 8));
    data = <u64>(<u32>load<u16>(from + 5 * word) | ((dataHigh & 0x0ffff000) << 4));
    opcode = <i32>high & 0x7ff;
  } else if (short) {
    instruction = <u64>load<u16>(from, 6);
    data = <u64>load<u16>(from, 10);
  } else {
    instruction = <u64>load<u32>(from, 12);
    data = <u64>load<u32>(from, 20);
    opcode = <i32>load<u16>(from, 18) & 0x7ff;
  }
  store<u64>(L.FIP, instruction);
  store<u64>(L.FDP, data);
  store<i32>(L.FOP, opcode);
}

/** FNSTENV at a linear address; all exceptions are masked afterwards. 0 with the fault recorded. */
export function x87StoreEnvironment(va: u64, short: i32, segment: u32): i32 {
  const area = areaForWrite(va, short ? 14 : 28, segment);
  if (!area) return 0;
  writeEnvironment(area, short);
  finishWrite();
  store<i32>(L.FCW, load<i32>(L.FCW) | 0x3f);
  x87SetStatus(load<i32>(L.FSW));
  return 1;
}

/** FLDENV */
export function x87LoadEnvironment(va: u64, short: i32, segment: u32): i32 {
  const area = areaForRead(va, short ? 14 : 28, segment);
  if (area) readEnvironment(area, short);
  return <i32>area;
}

/** FNSAVE */
export function x87Save(va: u64, short: i32, segment: u32): i32 {
  const size: u32 = short ? 14 : 28;
  const area = areaForWrite(va, size + 80, segment);
  if (!area) return 0;
  writeEnvironment(area, short);
  const top = load<i32>(L.FTOP);
  for (let i = 0; i < 8; i++) {
    const from = slot((top + i) & 7);
    const to = area + size + i * 10;
    store<u64>(to, load<u64>(from));
    store<u16>(to, load<u16>(from, 8), 8);
  }
  finishWrite();
  x87Initialize();
  return 1;
}

/** FRSTOR */
export function x87Restore(va: u64, short: i32, segment: u32): i32 {
  const size: u32 = short ? 14 : 28;
  const area = areaForRead(va, size + 80, segment);
  if (!area) return 0;
  readEnvironment(area, short);
  const top = load<i32>(L.FTOP);
  for (let i = 0; i < 8; i++) {
    const to = slot((top + i) & 7);
    const from = area + size + i * 10;
    store<u64>(to, load<u64>(from));
    store<u64>(to, <u64>load<u16>(from, 8), 8);
  }
  return 1;
}
