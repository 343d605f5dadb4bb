/** Flags, system calls, and what only the system may do. Rare ones are routines by name: see ../system/. SDM vol. 2 and 3. */
import { GP, UD } from '../faults.ts';
import { AC, ARITHMETIC, CF, DF, ID, IF, IOPL, NT, PF, RF, SF, TF, VM, ZF, AF } from '../flags.ts';
import { RAX, RCX, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row } from './row.ts';

/** IOPL (0…3) is at least CPL, as i32. In virtual-8086 mode (CPL 3) that means IOPL = 3. */
function mayChangeInterrupts(o: Ops): Node {
  const { b } = o;
  const iopl = b.op('i32.and', b.op('i32.shr_u', o.state32(L.RFLAGS), b.i32(12)), b.i32(3));
  return b.op('i32.le_u', o.state32(L.CPL), iopl);
}

function setRflags(o: Ops, clear: number, set: number): void {
  o.setState32(L.RFLAGS, o.b.op('i32.or', o.b.op('i32.and', o.state32(L.RFLAGS), o.b.i32(~clear)), o.b.i32(set)));
}

/** RFLAGS as PUSHF stores them: VM and RF read as 0; bit 1 is always 1. */
function allFlags(o: Ops): Node {
  const system = o.b.op('i32.and', o.state32(L.RFLAGS), o.b.i32(~(VM | RF)));
  return o.wide(o.b.op('i32.or', o.b.op('i32.or', system, o.packFlags()), o.b.i32(2)));
}

const CR4_PCIDE = 1 << 17;
/** Bits of a physical address: CPUID 8000_0008. */
const PHYSICAL_BITS = 40;
const ARITHMETIC_LOW = SF | ZF | AF | PF | CF;

export const SYSTEM: readonly Row[] = [
  row('clc', 'F8:', (o) => o.changeFlags(CF, o.b.i32(0))),
  row('stc', 'F9:', (o) => o.changeFlags(CF, o.b.i32(CF))),
  row('cmc', 'F5:', (o) => o.changeFlags(CF, o.b.op('i32.xor', o.narrow(o.carry()), o.b.i32(1)))),
  row('cld', 'FC:', (o) => setRflags(o, DF, 0)),
  row('std', 'FD:', (o) => setRflags(o, DF, DF)),
  row('lahf', '9F:', (o) => o.writeGpr(RAX, 16, o.or(o.shl(o.wide(o.b.op('i32.or', o.b.op('i32.and', o.packFlags(), o.b.i32(0xff)), o.b.i32(2))), o.const(8)), o.readGpr(RAX, 8)))),
  row('sahf', '9E:', (o) => o.changeFlags(ARITHMETIC_LOW, o.b.op('i32.and', o.narrow(o.shr(o.readGpr(RAX, 64), o.const(8))), o.b.i32(ARITHMETIC_LOW)))),
  row('cli', 'FA:', (o) => {
    o.if(o.isFalse(mayChangeInterrupts(o)), () => o.system());
    setRflags(o, IF, 0);
  }, { routine: 'disableInterrupts' }),
  row('sti', 'FB:', (o) => {
    // With something pending, the system routine sets IF and holds interrupts off for one more instruction.
    o.if(o.b.op('i32.or', o.isFalse(mayChangeInterrupts(o)), o.state32(L.PENDING)), () => o.system());
    setRflags(o, 0, IF);
  }, { routine: 'enableInterrupts' }),
  row('pushf', '9C:', (o) => {
    o.if(o.b.op('i32.and', o.state32(L.RFLAGS), o.b.i32(VM)), () => o.if(o.isFalse(mayChangeInterrupts(o)), () => o.system()));
    o.push(allFlags(o), o.size);
  }, { stack64: true, modal: true, sized: true, routine: 'pushVirtualFlags' }),
  row('popf', '9D:', (o) => {
    const { b } = o;
    o.if(b.op('i32.and', o.state32(L.RFLAGS), b.i32(VM)), () => o.if(o.isFalse(mayChangeInterrupts(o)), () => o.system()));
    const value = o.narrow(o.pop(o.size));
    const supervisor = b.op('i32.eqz', o.state32(L.CPL));
    const wide = o.size === 16 ? TF | DF | NT : TF | DF | NT | AC | ID;
    const mask = b.op('i32.or', b.op('i32.or', b.i32(wide), b.op('i32.select', b.i32(IF), b.i32(0), mayChangeInterrupts(o))), b.op('i32.select', b.i32(IOPL), b.i32(0), supervisor));
    const keep = b.op('i32.and', o.state32(L.RFLAGS), b.op('i32.xor', mask, b.i32(-1)));
    // RF is cleared; VM, VIF and VIP stay. (Old editions of the manual let POPFD clear the latter two.)
    o.setState32(L.RFLAGS, b.op('i32.or', b.op('i32.and', keep, b.i32(~RF)), b.op('i32.and', value, mask)));
    o.unpackFlags(value);
    o.modeChanged();
    o.nextWithCheck();
  }, { stack64: true, modal: true, sized: true, routine: 'popVirtualFlags' }),
  row('clac', 'NP 0F 01 /=CA:', (o) => {
    o.if(o.state32(L.CPL), () => o.fault(UD));
    setRflags(o, AC, 0);
    o.modeChanged();
  }, { feature: 'smap' }),
  row('stac', 'NP 0F 01 /=CB:', (o) => {
    o.if(o.state32(L.CPL), () => o.fault(UD));
    setRflags(o, 0, AC);
    o.modeChanged();
  }, { feature: 'smap' }),
  row('swapgs', '0F 01 /=F8:', (o) => {
    o.requireCpl0();
    const gs = o.state64(L.SEG_BASE + 5 * 8);
    const kernel = o.state64(L.KERNEL_GS_BASE);
    o.setState64(L.SEG_BASE + 5 * 8, kernel);
    o.setState64(L.KERNEL_GS_BASE, gs);
  }, { only64: true }),
  row('rdfsbase', 'F3 0F AE /0 reg: Ry=', (o) => fsgsbase(o, () => o.set(0, o.state64(L.SEG_BASE + 4 * 8))), { only64: true, feature: 'fsgsbase' }),
  row('rdgsbase', 'F3 0F AE /1 reg: Ry=', (o) => fsgsbase(o, () => o.set(0, o.state64(L.SEG_BASE + 5 * 8))), { only64: true, feature: 'fsgsbase' }),
  row('wrfsbase', 'F3 0F AE /2 reg: Ry', (o) => fsgsbase(o, () => writeBase(o, 4)), { only64: true, feature: 'fsgsbase' }),
  row('wrgsbase', 'F3 0F AE /3 reg: Ry', (o) => fsgsbase(o, () => writeBase(o, 5)), { only64: true, feature: 'fsgsbase' }),
  row('rdpid', 'F3 0F C7 /7 reg: Rq=', (o) => o.set(0, o.state64(L.TSC_AUX)), { feature: 'rdpid' }),
  row('cmpxchg8b', '0F C7 /1 W0 mem: M+', (o) => compareExchangeWide(o, 32), { lock: true }),
  row('cmpxchg16b', 'REX.W 0F C7 /1 mem: M+', (o) => compareExchangeWide(o, 64), { lock: true, feature: 'cx16' }),
  row('syscall', '0F 05:', systemCall, { ends: true, routine: 'systemCall' }),
  row('sysret', '0F 07:', systemReturn, { ends: true, sized: true, routine: 'systemReturn' }),
  row('sysenter', '0F 34:', 'systemEnter', { ends: true }),
  row('sysexit', '0F 35:', 'systemExit', { ends: true, sized: true }),
  row('cpuid', '0F A2:', 'cpuid'),
  row('rdtsc', '0F 31:', readTimeStamp),
  row('rdtscp', '0F 01 /=F9:', (o) => {
    readTimeStamp(o);
    o.writeGpr(RCX, 32, o.state64(L.TSC_AUX));
  }, { feature: 'rdtscp' }),
  row('rdpmc', '0F 33:', 'readPmc'),
  row('rdmsr', '0F 32:', 'readMsr'),
  row('wrmsr', '0F 30:', 'writeMsr', { ends: true }),
  row('hlt', 'F4:', 'halt', { ends: true }),
  row('in', ['E4: AL= Ib', 'E5: eAX= Ib', 'EC: AL= DX', 'ED: eAX= DX'], 'input'),
  row('out', ['E6: Ib AL', 'E7: Ib eAX', 'EE: DX AL', 'EF: DX eAX'], 'output'),
  row('mov', ['0F 20 /r: Rq= Cq'], readPaging, { registerForm: true, routine: 'readControl' }),
  row('mov', ['0F 22 /r: Cq= Rq'], writePaging, { registerForm: true, ends: true, routine: 'writeControl' }),
  row('mov', ['0F 21 /r: Rq= Dq'], 'readDebug', { registerForm: true }),
  row('mov', ['0F 23 /r: Dq= Rq'], 'writeDebug', { registerForm: true, ends: true }),
  row('mov', '8C /r: Ev= Sw', readSelector, { routine: 'storeSegment' }),
  row('mov', '8E /r: Sw= Ew', 'loadSegment', { ends: true }),
  row('push', ['06:', '0E:', '16:', '1E:'], 'pushSegment', { no64: true, sized: true }),
  row('push', ['0F A0:', '0F A8:'], 'pushSegment', { stack64: true }),
  row('pop', ['07:', '17:', '1F:'], 'popSegment', { no64: true, sized: true, ends: true }),
  row('pop', ['0F A1:', '0F A9:'], 'popSegment', { stack64: true, ends: true }),
  row('les', ['C4 /r mem: Gz= Mp', 'C5 /r mem: Gz= Mp'], 'loadFarPointer', { no64: true, ends: true }),
  row('lss', ['0F B2 /r mem: Gv= Mp', '0F B4 /r mem: Gv= Mp', '0F B5 /r mem: Gv= Mp'], 'loadFarPointer', { ends: true }),
  row('sldt', '0F 00 /0: Ev=', 'storeSystemSegment'),
  row('str', '0F 00 /1: Ev=', 'storeSystemSegment'),
  row('lldt', '0F 00 /2: Ew', 'loadLdt'),
  row('ltr', '0F 00 /3: Ew', 'loadTaskRegister'),
  row('verr', ['0F 00 /4: Ew', '0F 00 /5: Ew'], 'verify'),
  row('sgdt', ['0F 01 /0 mem: M', '0F 01 /1 mem: M'], 'storeTable'),
  row('lgdt', ['0F 01 /2 mem: M', '0F 01 /3 mem: M'], 'loadTable', { sized: true }),
  row('smsw', '0F 01 /4: Ev=', 'storeMachineStatus'),
  row('lmsw', '0F 01 /6: Ew', 'loadMachineStatus', { ends: true }),
  row('invlpg', '0F 01 /7 mem: M', 'invalidatePage', { ends: true }),
  row('lar', '0F 02 /r: Gv+ Ew', 'loadAccessRights'),
  row('lsl', '0F 03 /r: Gv+ Ew', 'loadSegmentLimit'),
  row('clts', '0F 06:', 'clearTaskSwitched'),
  row('invd', '0F 08:', 'invalidateCaches'),
  row('wbinvd', '0F 09:', 'invalidateCaches'),
  row('arpl', '63 /r: Ew+ Gw', 'adjustRpl', { no64: true }),
  row('invpcid', '66 0F 38 82 /r mem: Gq M', 'invalidatePcid', { feature: 'invpcid', ends: true }),
  row('rdrand', '0F C7 /6 reg: Rv=', 'random', { feature: 'rdrand' }),
  row('rdseed', '0F C7 /7 reg: Rv=', 'random', { feature: 'rdseed' }),
  row('xgetbv', 'NP 0F 01 /=D0:', 'readXcr', { feature: 'xsave' }),
  row('xsetbv', 'NP 0F 01 /=D1:', 'writeXcr', { feature: 'xsave', ends: true }),
  row('daa', '27:', 'decimalAdjust', { no64: true }),
  row('das', '2F:', 'decimalAdjust', { no64: true }),
  row('aaa', '37:', 'asciiAdjust', { no64: true }),
  row('aas', '3F:', 'asciiAdjust', { no64: true }),
  row('aam', 'D4: Ib', 'asciiMultiply', { no64: true }),
  row('aad', 'D5: Ib', 'asciiDivide', { no64: true }),
  row('salc', 'D6:', (o) => o.writeGpr(RAX, 8, o.sub(o.const(0), o.carry())), { no64: true }),
  row('clflush', ['NP 0F AE /7 mem: Mb', '66 0F AE /7 mem: Mb', '66 0F AE /6 mem: Mb'], (o) => void o.host(false, 1)),
  row('lfence', ['NP 0F AE /5 reg:', 'NP 0F AE /6 reg:', 'NP 0F AE /7 reg:'], () => {}),
  row('serialize', 'NP 0F 01 /=E8:', () => {}, { feature: 'serialize' }),
]; // prettier-ignore

/** MOV from a segment register to a general one; to memory, 16 bits whatever the operand size, is rare. */
function readSelector(o: Ops): void {
  const { b } = o;
  if (o.variant.memory !== 'none') return o.system();
  const number = o.registerNumber(o.operand(1));
  o.if(b.op('i32.gt_u', number, b.i32(5)), () => o.system());
  o.set(0, b.load('i64.load16_u', b.op('i32.shl', number, b.i32(2)), L.SEG_SELECTOR));
}

/** Whether this is anything but 64-bit code at CPL 0, as i32. */
function notKernel64(o: Ops): Node {
  return o.b.op('i32.or', o.state32(L.CPL), o.b.op('i32.ne', o.state32(L.CODE_MODE), o.b.i32(2)));
}

/** MOV from CR2 and CR3 in the 64-bit kernel, which every page fault and every change of address spaces does. */
function readPaging(o: Ops): void {
  const { b } = o;
  const number = o.registerNumber(o.operand(1));
  const [isCr2, isCr3] = [2, 3].map((n) => b.op('i32.eq', number, b.i32(n))) as [Node, Node];
  o.if(b.op('i32.or', notKernel64(o), b.op('i32.eqz', b.op('i32.or', isCr2, isCr3))), () => o.system());
  o.set(0, b.op('i64.select', o.state64(L.CR3), o.state64(L.CR2), isCr3));
}

/** MOV to CR3 in the kernel. */
function writePaging(o: Ops): void {
  const { b } = o;
  o.if(b.op('i32.or', notKernel64(o), b.op('i32.ne', o.registerNumber(o.operand(0)), b.i32(3))), () => o.system());
  const value = o.get(1);
  const pcids = b.op('i32.and', o.state32(L.CR4), b.i32(CR4_PCIDE));
  // With PCIDs, bit 63 asks to keep the translations.
  const base = b.op('i64.select', o.and(value, o.const((1n << 63n) - 1n)), value, pcids);
  o.if(b.op('i32.eqz', o.isZero(o.shr(base, o.const(PHYSICAL_BITS)))), () => o.system());
  b.call(o.callees['loadCr3']!, value);
}

/** RDTSC: #GP above CPL 0 when CR4.TSD forbids it. */
function readTimeStamp(o: Ops): void {
  const forbidden = o.b.op('i32.and', o.state32(L.CR4), o.b.i32(4));
  o.if(forbidden, () => o.requireCpl0());
  const value = o.b.call(o.callees['timeStamp']!, o.position());
  o.writeGpr(RAX, 32, value);
  o.writeGpr(2, 32, o.shr(value, o.const(32)));
}

const FLAT = 0x8090; // G, P, S
const FLAT_CODE = FLAT | 0x200b; // L, execute/read, accessed
const FLAT_DATA = FLAT | 0x4003; // D/B, read/write, accessed

/** A flat segment by number, without reading a descriptor. */
function setFlat(o: Ops, segment: number, selector: Node, attributes: number): void {
  o.setState32(L.SEG_SELECTOR + segment * 4, o.narrow(o.and(selector, o.const(0xffff))));
  o.setState64(L.SEG_BASE + segment * 8, o.const(0));
  o.setState32(L.SEG_LIMIT + segment * 4, o.b.i32(-1));
  o.setState32(L.SEG_ATTR + segment * 4, o.b.i32(attributes));
}

/**
 * True (i32) unless this is 64-bit code with SYSCALL enabled and without single step before or after: the routine knows
 * the other cases.
 */
function notPlain(o: Ops, flagsAfter: Node): Node {
  const { b } = o;
  const mode = b.op('i32.ne', o.state32(L.CODE_MODE), b.i32(2));
  const off = b.op('i32.eqz', b.op('i32.and', o.state32(L.EFER), b.i32(1)));
  return b.op('i32.or', b.op('i32.or', mode, off), b.op('i32.and', b.op('i32.or', o.state32(L.RFLAGS), flagsAfter), b.i32(TF)));
}

/** SYSCALL between 64-bit code. SDM vol. 2, SYSCALL. */
function systemCall(o: Ops): void {
  o.if(notPlain(o, o.b.i32(0)), () => o.system());
  const { b } = o;
  const flags = b.op('i32.and', b.op('i32.or', b.op('i32.or', o.state32(L.RFLAGS), o.packFlags()), b.i32(2)), b.i32(~RF));
  o.writeGpr(RCX, 64, o.nextAddress());
  o.writeGpr(11, 64, o.wide(flags));
  const left = b.op('i32.and', flags, b.op('i32.xor', o.state32(L.SFMASK), b.i32(-1)));
  o.setState32(L.RFLAGS, b.op('i32.and', left, b.i32(~ARITHMETIC)));
  o.unpackFlags(left);
  const selector = o.and(o.shr(o.state64(L.STAR), o.const(32)), o.const(0xfffc));
  setFlat(o, 1, selector, FLAT_CODE);
  setFlat(o, 2, o.add(selector, o.const(8)), FLAT_DATA);
  o.setState32(L.CPL, b.i32(0));
  o.modeChanged();
  o.jumpTo(o.state64(L.LSTAR));
}

/** SYSRET to 64-bit code. SDM vol. 2, SYSRET. */
function systemReturn(o: Ops): void {
  const { b } = o;
  const target = o.readGpr(RCX, 64);
  const odd = o.ne(o.sar(o.shl(target, o.const(16)), o.const(16)), target);
  const refused = b.op('i32.or', b.op('i32.or', notPlain(o, o.narrow(o.readGpr(11, 64))), b.op('i32.ne', o.state32(L.CPL), b.i32(0))), odd);
  if (o.size !== 64) return o.system();
  o.if(refused, () => o.system());
  const flags = o.narrow(o.readGpr(11, 64));
  o.setState32(L.RFLAGS, b.op('i32.and', flags, b.i32(0x3c7fd7 & ~ARITHMETIC)));
  o.unpackFlags(flags);
  const selector = o.shr(o.state64(L.STAR), o.const(48));
  setFlat(o, 1, o.or(o.add(selector, o.const(16)), o.const(3)), FLAT_CODE | 0x60);
  setFlat(o, 2, o.or(o.add(selector, o.const(8)), o.const(3)), FLAT_DATA | 0x60);
  o.setState32(L.CPL, b.i32(3));
  o.modeChanged();
  o.jumpWithCheck(target);
}

/** RDFSBASE and friends: #UD unless CR4.FSGSBASE. */
function fsgsbase(o: Ops, then: () => void): void {
  o.if(o.b.op('i32.eqz', o.b.op('i32.and', o.state32(L.CR4), o.b.i32(1 << 16))), () => o.fault(UD));
  then();
}

function writeBase(o: Ops, segment: number): void {
  const base = o.get(0);
  if (o.bits(0) === 64) o.if(o.isFalse(o.eq(o.sar(o.shl(base, o.const(16)), o.const(16)), base)), () => o.fault(GP, o.const(0)));
  o.setState64(L.SEG_BASE + segment * 8, base);
}

/** CMPXCHG8B/16B: only ZF changes. The 16-byte form wants its operand aligned. */
function compareExchangeWide(o: Ops, half: 32 | 64): void {
  const bytes = half / 4;
  if (half === 64) o.requireAligned(16);
  const host = o.host(true, bytes);
  const low = o.loadHost(host, half);
  const high = o.loadHost(host, half, half / 8);
  const equal = o.b.op('i32.and', o.eq(low, o.readGpr(RAX, half)), o.eq(high, o.readGpr(2, half)));
  o.storeHost(host, half, o.select(o.readGpr(3, half), low, equal));
  o.storeHost(host, half, o.select(o.readGpr(RCX, half), high, equal), half / 8);
  o.commit(host);
  o.if(o.isFalse(equal), () => {
    o.writeGpr(RAX, half, low);
    o.writeGpr(2, half, high);
  });
  o.changeFlags(ZF, o.b.op('i32.shl', equal, o.b.i32(6)));
}
