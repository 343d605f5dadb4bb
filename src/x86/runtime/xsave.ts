/**
 * Images of the x87, SSE and AVX state: FXSAVE, FXRSTOR and the XSAVE family. Intel SDM vol. 1, 10.5 and chapter 13.
 * State components are x87 (bit 0), SSE (1) and AVX (2); there are no supervisor components (IA32_XSS is 0).
 * Privilege and XSAVE's alignment are checked by the handlers.
 */
import { areaForRead, areaForWrite, finishWrite } from './area';
import * as L from './layout';
import { isCanonical, misaligned } from './mmu';
import { slot } from './x87-stack';
import { x87Initialize, x87SetControl, x87SetStatus, x87Status } from './x87-state';

const X87_STATE = 1;
const SSE_STATE = 2;
const AVX_STATE = 4;

/** Offsets in the legacy region, the header behind it, and AVX state in the standard format. */
const MXCSR_AT = 24;
const ST_AT = 32;
const XMM_AT = 160;
const XSTATE_BV = 512;
const XCOMP_BV = 520;
const HEADER_END = 576;
const AVX_BYTES = 256;

const MXCSR_RESET = 0x1f80;
/** Bits of MXCSR that exist. */
const MXCSR_MASK = 0xffff;
const COMPACTED: u64 = 0x8000000000000000;

// Kinds of saving (XSAVE 0, XSAVEOPT 1, XSAVEC 2, XSAVES 3), and flags beside them in `mode`.
const XSAVEC = 2;
const KIND = 3;
/** REX.W: instruction and operand pointers have 64 bits and no selectors. */
const WIDE = 4;
/** XRSTORS */
const SUPERVISOR = 8;

function generalProtection(): i32 {
  store<u32>(L.FAULT_VECTOR, 13);
  store<u32>(L.FAULT_ERROR, 0);
  return 0;
}

/** Outside 64-bit mode the upper eight vector registers are left alone. */
function vectorCount(): i32 {
  return load<u32>(L.CODE_MODE) == 2 ? 16 : 8;
}

function putX87(area: u32, wide: i32): void {
  store<u16>(area, load<i32>(L.FCW));
  store<u16>(area, x87Status(), 2);
  store<u16>(area, load<i32>(L.FTAG), 4);
  store<u16>(area, load<i32>(L.FOP), 6);
  if (wide) {
    store<u64>(area, load<u64>(L.FIP), 8);
    store<u64>(area, load<u64>(L.FDP), 16);
  } else {
    store<u64>(area, load<u64>(L.FIP) & 0xffffffff, 8);
    store<u64>(area, load<u64>(L.FDP) & 0xffffffff, 16);
  }
  const top = load<i32>(L.FTOP);
  for (let i = 0; i < 8; i++) {
    const from = slot((top + i) & 7);
    store<u64>(area + (i << 4), load<u64>(from), ST_AT);
    store<u64>(area + (i << 4), load<u64>(from, 8) & 0xffff, ST_AT + 8);
  }
}

function takeX87(area: u32, wide: i32): void {
  store<i32>(L.FTOP, (<i32>load<u16>(area, 2) >> 11) & 7);
  store<i32>(L.FSW, <i32>load<u16>(area, 2));
  x87SetControl(<i32>load<u16>(area));
  x87SetStatus(load<i32>(L.FSW));
  store<i32>(L.FTAG, <i32>load<u8>(area, 4));
  store<i32>(L.FOP, <i32>load<u16>(area, 6) & 0x7ff);
  if (wide) {
    store<u64>(L.FIP, load<u64>(area, 8));
    store<u64>(L.FDP, load<u64>(area, 16));
  } else {
    store<u64>(L.FIP, <u64>load<u32>(area, 8));
    store<u64>(L.FDP, <u64>load<u32>(area, 16));
  }
  const top = load<i32>(L.FTOP);
  for (let i = 0; i < 8; i++) {
    const to = slot((top + i) & 7);
    store<u64>(to, load<u64>(area + (i << 4), ST_AT));
    store<u64>(to, load<u64>(area + (i << 4), ST_AT + 8) & 0xffff, 8);
  }
}

function resetX87(): void {
  x87Initialize();
  memory.fill(L.X87, 0, 128);
}

function putMxcsr(area: u32): void {
  store<u32>(area, load<u32>(L.MXCSR), MXCSR_AT);
  store<u32>(area, MXCSR_MASK, MXCSR_AT + 4);
}

function putXmm(area: u32): void {
  const count = vectorCount();
  for (let i = 0; i < count; i++) v128.store(area + (i << 4), v128.load(L.YMM + (i << 5)), XMM_AT);
}

function takeXmm(area: u32): void {
  const count = vectorCount();
  for (let i = 0; i < count; i++) v128.store(L.YMM + (i << 5), v128.load(area + (i << 4), XMM_AT));
}

function resetXmm(): void {
  const count = vectorCount();
  for (let i = 0; i < count; i++) v128.store(L.YMM + (i << 5), i64x2.splat(0));
}

function putUpper(area: u32): void {
  const count = vectorCount();
  for (let i = 0; i < count; i++) v128.store(area + (i << 4), v128.load(L.YMM + (i << 5), 16));
}

function takeUpper(area: u32): void {
  const count = vectorCount();
  for (let i = 0; i < count; i++) v128.store(L.YMM + (i << 5), v128.load(area + (i << 4)), 16);
}

function resetUpper(): void {
  const count = vectorCount();
  for (let i = 0; i < count; i++) v128.store(L.YMM + (i << 5), i64x2.splat(0), 16);
}

/** FXSAVE and FXRSTOR at an address that is no multiple of 16: #AC where alignment to 4 is checked, else #GP(0). */
function unaligned(va: u64, segment: u32): i32 {
  if (isCanonical(va) && isCanonical(va + 511) && misaligned(va, 4)) return 0;
  generalProtection();
  if (!isCanonical(va) && segment == 2) store<u32>(L.FAULT_VECTOR, 12);
  return 0;
}

/**
 * Whether an area that its segment does not hold is aligned, which is found out first, to 16 for FXSAVE or else to its
 * unit where alignment is checked; 0 with the fault recorded.
 */
export function areaAligned(va: u64, unit: u32, segment: u32): i32 {
  if (unit == 16) return va & 15 ? unaligned(va, segment) : 1;
  return misaligned(va, unit) ? 0 : 1;
}

/** FXSAVE at a linear address; 0 with the fault recorded. */
export function fxsave(va: u64, wide: i32, segment: u32): i32 {
  if (va & 15) return unaligned(va, segment);
  const area = areaForWrite(va, 512, segment);
  if (!area) return 0;
  putX87(area, wide);
  putMxcsr(area);
  putXmm(area);
  finishWrite();
  return 1;
}

export function fxrstor(va: u64, wide: i32, segment: u32): i32 {
  if (va & 15) return unaligned(va, segment);
  const area = areaForRead(va, 512, segment);
  if (!area) return 0;
  const control = load<u32>(area, MXCSR_AT);
  if (control & ~MXCSR_MASK) return generalProtection();
  takeX87(area, wide);
  store<u32>(L.MXCSR, control);
  takeXmm(area);
  return 1;
}

/** Components that are not in their initial state. */
function inUse(): i32 {
  let used = 0;
  if (
    load<i32>(L.FTAG) | load<i32>(L.FSW) | load<i32>(L.FTOP) | load<i32>(L.FOP) | (load<i32>(L.FCW) ^ 0x37f) ||
    (load<u64>(L.FIP) | load<u64>(L.FDP)) != 0
  ) {
    used = X87_STATE;
  } else {
    let any = v128.load(L.X87);
    for (let i = 16; i < 128; i += 16) any = v128.or(any, v128.load(L.X87 + i));
    if (v128.any_true(any)) used = X87_STATE;
  }
  let low = v128.load(L.YMM);
  let high = v128.load(L.YMM, 16);
  const count = vectorCount();
  for (let i = 1; i < count; i++) {
    low = v128.or(low, v128.load(L.YMM + (i << 5)));
    high = v128.or(high, v128.load(L.YMM + (i << 5), 16));
  }
  if (v128.any_true(low)) used |= SSE_STATE;
  if (v128.any_true(high)) used |= AVX_STATE;
  return used;
}

/** XSAVE, XSAVEOPT, XSAVEC, XSAVES of the components that EDX:EAX (`requested`) and XCR0 have in common. */
export function xsave(va: u64, requested: u64, mode: i32, segment: u32): i32 {
  const components = <i32>(requested & load<u64>(L.XCR0)) & (X87_STATE | SSE_STATE | AVX_STATE);
  const kind = mode & KIND;
  let used = inUse();
  if (kind >= XSAVEC && load<u32>(L.MXCSR) != MXCSR_RESET) used |= SSE_STATE;
  used &= components;
  const written = kind == 0 ? components : used;
  const area = areaForWrite(va, HEADER_END + (written & AVX_STATE ? AVX_BYTES : 0), segment);
  if (!area) return 0;
  if (written & X87_STATE) putX87(area, mode & WIDE);
  if (kind >= XSAVEC ? written & SSE_STATE : components & (SSE_STATE | AVX_STATE)) putMxcsr(area);
  if (written & SSE_STATE) putXmm(area);
  if (written & AVX_STATE) putUpper(area + HEADER_END);
  if (kind >= XSAVEC) {
    store<u64>(area, <u64>used, XSTATE_BV);
    store<u64>(area, COMPACTED | <u64>components, XCOMP_BV);
  } else {
    store<u64>(area, (load<u64>(area, XSTATE_BV) & ~(<u64>components)) | <u64>used, XSTATE_BV);
  }
  finishWrite();
  return 1;
}

/** XRSTOR and XRSTORS. */
export function xrstor(va: u64, requested: u64, mode: i32, segment: u32): i32 {
  const enabled = load<u64>(L.XCR0);
  const components = <i32>(requested & enabled) & (X87_STATE | SSE_STATE | AVX_STATE);
  let area = areaForRead(va, HEADER_END, segment);
  if (!area) return 0;
  const present = load<u64>(area, XSTATE_BV);
  const format = load<u64>(area, XCOMP_BV);
  const compacted = (format & COMPACTED) != 0;
  if (compacted) {
    const layout = format & ~COMPACTED;
    if (layout & ~enabled || present & ~layout) return generalProtection();
    for (let at = 16; at < 64; at += 8) if (load<u64>(area + at, XSTATE_BV)) return generalProtection();
  } else {
    if (mode & SUPERVISOR || present & ~enabled || format != 0 || load<u64>(area, XCOMP_BV + 8) != 0) return generalProtection();
  }
  const loaded = components & <i32>present;
  // The compacted format treats MXCSR as a part of SSE state; the standard one loads it always.
  const takesMxcsr = compacted ? loaded & SSE_STATE : components & (SSE_STATE | AVX_STATE);
  const control = load<u32>(area, MXCSR_AT);
  if (takesMxcsr && control & ~MXCSR_MASK) return generalProtection();
  if (loaded & AVX_STATE) {
    area = areaForRead(va, HEADER_END + AVX_BYTES, segment);
    if (!area) return 0;
  }
  if (components & X87_STATE) {
    if (loaded & X87_STATE) takeX87(area, mode & WIDE);
    else resetX87();
  }
  if (takesMxcsr) store<u32>(L.MXCSR, control);
  else if (compacted && components & SSE_STATE) store<u32>(L.MXCSR, MXCSR_RESET);
  if (components & SSE_STATE) {
    if (loaded & SSE_STATE) takeXmm(area);
    else resetXmm();
  }
  if (components & AVX_STATE) {
    if (loaded & AVX_STATE) takeUpper(area + HEADER_END);
    else resetUpper();
  }
  return 1;
}
