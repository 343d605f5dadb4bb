/** x87 instructions: D8 to DF and WAIT. SDM vol. 2; vol. 1, chapter 8. What they do to the stack is in runtime/x87-*.ts. */
import { FPU_ERROR, MF, NM } from '../faults.ts';
import { RAX, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';
import { checkArea } from './xsave.ts';

const CR0_MP = 2;
const CR0_TS = 8;
const CR0_NE = 0x20;
/** Error summary in the status word. */
const ES = 0x80;

/** An exception that an earlier instruction left pending comes first. */
export function reportPending(o: Ops): void {
  o.if(o.b.op('i32.and', o.state32(L.FSW), o.b.i32(ES)), () => {
    o.if(o.b.op('i32.and', o.state32(L.CR0), o.b.i32(CR0_NE)), () => o.fault(MF));
    o.fault(FPU_ERROR);
  });
}

/** Remembers the instruction, and its memory operand: what exception handlers look at. */
function remember(o: Ops): void {
  o.setState64(L.FIP, o.sub(o.thisAddress(), o.state64(L.SEG_BASE + 8)));
  o.setState32(L.FOP, o.narrow(o.immediate()));
}

function instruction(mnemonic: string, encodings: string | readonly string[], semantics: Semantics, options: RowOptions = {}): Row {
  return row(
    mnemonic,
    encodings,
    (o) => {
      reportPending(o);
      semantics(o);
    },
    { unit: 'x87', ...options },
  );
}

/** One of the control instructions that neither wait nor are remembered. */
function quiet(mnemonic: string, encodings: string | readonly string[], semantics: Semantics, options: RowOptions = {}): Row {
  return row(mnemonic, encodings, semantics, { unit: 'x87', ...options });
}

const call = (o: Ops, name: string, ...args: readonly Node[]): Node => o.b.call(o.callees[name]!, ...args);

/** Operates on registers alone: the runtime's function gets constants. */
function plain(name: string, ...constants: readonly number[]): Semantics {
  return (o) => {
    remember(o);
    call(o, name, ...constants.map((n) => o.b.i32(n)));
  };
}

/** The same with ST(i), which the first operand that is one names, before the constants. */
function withRegister(name: string, ...constants: readonly number[]): Semantics {
  return (o) => {
    remember(o);
    call(o, name, o.registerNumber(o.operand(0)), ...constants.map((n) => o.b.i32(n)));
  };
}

/** Reads the memory operand: `read` turns its host address into the first argument. */
function withMemory(bytes: number, name: string, read: (o: Ops, host: Node) => Node, ...constants: readonly number[]): Semantics {
  return (o) => {
    const host = o.host(false, bytes);
    remember(o);
    o.setState64(L.FDP, o.effectiveAddress());
    call(o, name, read(o, o.b.get(host)), ...constants.map((n) => o.b.i32(n)));
  };
}

const address = (_o: Ops, host: Node): Node => host;
const integer =
  (bits: 16 | 32 | 64) =>
  (o: Ops, host: Node): Node =>
    o.b.load(bits === 64 ? 'i64.load' : `i64.load${bits}_s`, host);

/** Kinds of stores: as in runtime/x87-move.ts. */
const KIND = { f32: 0, f64: 1, f80: 2, i16: 3, i32: 4, i64: 5, bcd: 6, truncate16: 7, truncate32: 8, truncate64: 9 } as const;

function store(bytes: number, kind: keyof typeof KIND, pops: number): Semantics {
  return (o) => {
    const host = o.host(true, bytes, true);
    remember(o);
    o.setState64(L.FDP, o.effectiveAddress());
    o.if(call(o, 'x87Store', o.b.get(host), o.b.i32(KIND[kind]), o.b.i32(pops)), () => o.commit(host));
  };
}

/** The families of arithmetic; those with a difference have their reverse next to them. */
const FAMILIES = [['add', 0], ['mul', 1], ['sub', 4], ['subr', 5], ['div', 6], ['divr', 7]] as const; // prettier-ignore
/** With ST(i) as the destination, what is called SUB has the number of SUBR, and so on. */
const TO_REGISTER: Readonly<Record<number, number>> = { 0: 0, 1: 1, 4: 5, 5: 4, 6: 7, 7: 6 };

function family([name, number]: (typeof FAMILIES)[number]): Row[] {
  const digit = TO_REGISTER[number]!;
  return [
    instruction(`f${name}`, `D8 /${number} mem: Md`, withMemory(4, 'x87ArithmeticF32', address, number)),
    instruction(`f${name}`, `DC /${number} mem: Mq`, withMemory(8, 'x87ArithmeticF64', address, number)),
    instruction(`f${name}`, `D8 /${number} reg: T`, arithmetic(number, 0)),
    instruction(`f${name}`, `DC /${digit} reg: T+`, arithmetic(digit, 1)),
    instruction(`f${name}p`, `DE /${digit} reg: T+`, arithmetic(digit, 3)),
    instruction(`fi${name}`, `DA /${number} mem: Md`, withMemory(4, 'x87ArithmeticInteger', integer(32), number)),
    instruction(`fi${name}`, `DE /${number} mem: Mw`, withMemory(2, 'x87ArithmeticInteger', integer(16), number)),
  ];
}

function arithmetic(number: number, mode: number): Semantics {
  return (o) => {
    remember(o);
    call(o, 'x87Arithmetic', o.b.i32(number), o.registerNumber(o.operand(0)), o.b.i32(mode));
  };
}

/** FCOMPP and FUCOMPP name no register but compare with ST(1). */
function compareAndPopBoth(isQuiet: number): Semantics {
  return (o) => {
    remember(o);
    call(o, 'x87Compare', o.b.i32(1), o.b.i32(isQuiet), o.b.i32(2));
  };
}

/** FCOMI and relatives: ZF, PF and CF from the comparison; OF, SF and AF clear. */
function compareFlags(isQuiet: number, pops: number): Semantics {
  return (o) => {
    remember(o);
    o.unpackFlags(call(o, 'x87CompareFlags', o.registerNumber(o.operand(0)), o.b.i32(isQuiet), o.b.i32(pops)));
  };
}

function conditionalMove(condition: number): Semantics {
  return (o) => {
    remember(o);
    call(o, 'x87Move', o.registerNumber(o.operand(0)), o.condition(condition));
  };
}

const MOVES = [['b', 'DA /0', 2], ['e', 'DA /1', 4], ['be', 'DA /2', 6], ['u', 'DA /3', 10],
  ['nb', 'DB /0', 3], ['ne', 'DB /1', 5], ['nbe', 'DB /2', 7], ['nu', 'DB /3', 11]] as const; // prettier-ignore

const CONSTANTS = ['1', 'l2t', 'l2e', 'pi', 'lg2', 'ln2', 'z'] as const;

/** Stores one of the two words that instructions can read. */
function storeWord(value: (o: Ops) => Node): Semantics {
  return (o) => o.set(0, o.wide(value(o)));
}

const control = (o: Ops): Node => o.state32(L.FCW);
const status = (o: Ops): Node => o.b.op('i32.or', o.state32(L.FSW), o.b.op('i32.shl', o.state32(L.FTOP), o.b.i32(11)));

/** The environment, of 14 or 28 bytes; for FNSAVE and FRSTOR with eight registers of ten bytes. */
function image(name: string, registers: number): Semantics {
  return (o) => {
    const isShort = o.size === 16;
    checkArea(o, (isShort ? 14 : 28) + registers, isShort ? 2 : 4);
    o.tellPosition();
    const done = call(o, name, o.linear(1), o.b.i32(isShort ? 1 : 0), o.segmentNumber());
    o.if(o.isFalse(done), () => o.faultRecorded());
  };
}

export const X87: readonly Row[] = [
  ...FAMILIES.flatMap(family),
  instruction('fcom', 'D8 /2 mem: Md', withMemory(4, 'x87ArithmeticF32', address, 2)),
  instruction('fcom', 'DC /2 mem: Mq', withMemory(8, 'x87ArithmeticF64', address, 2)),
  instruction('fcomp', 'D8 /3 mem: Md', withMemory(4, 'x87ArithmeticF32', address, 3)),
  instruction('fcomp', 'DC /3 mem: Mq', withMemory(8, 'x87ArithmeticF64', address, 3)),
  instruction('ficom', 'DA /2 mem: Md', withMemory(4, 'x87ArithmeticInteger', integer(32), 2)),
  instruction('ficom', 'DE /2 mem: Mw', withMemory(2, 'x87ArithmeticInteger', integer(16), 2)),
  instruction('ficomp', 'DA /3 mem: Md', withMemory(4, 'x87ArithmeticInteger', integer(32), 3)),
  instruction('ficomp', 'DE /3 mem: Mw', withMemory(2, 'x87ArithmeticInteger', integer(16), 3)),
  // DC D0, DC D8, DE D0 and others below are aliases that processors have kept since the 8087.
  instruction('fcom', ['D8 /2 reg: T', 'DC /2 reg: T'], withRegister('x87Compare', 0, 0)),
  instruction('fcomp', ['D8 /3 reg: T', 'DC /3 reg: T', 'DE /2 reg: T'], withRegister('x87Compare', 0, 1)),
  instruction('fcompp', 'DE /=D9:', compareAndPopBoth(0)),
  instruction('fucom', 'DD /4 reg: T', withRegister('x87Compare', 1, 0)),
  instruction('fucomp', 'DD /5 reg: T', withRegister('x87Compare', 1, 1)),
  instruction('fucompp', 'DA /=E9:', compareAndPopBoth(1)),
  instruction('fucomi', 'DB /5 reg: T', compareFlags(1, 0)),
  instruction('fcomi', 'DB /6 reg: T', compareFlags(0, 0)),
  instruction('fucomip', 'DF /5 reg: T', compareFlags(1, 1)),
  instruction('fcomip', 'DF /6 reg: T', compareFlags(0, 1)),

  instruction('fld', 'D9 /0 mem: Md', withMemory(4, 'x87LoadF32', address)),
  instruction('fld', 'DD /0 mem: Mq', withMemory(8, 'x87LoadF64', address)),
  instruction('fld', 'DB /5 mem: Mt', withMemory(10, 'x87LoadF80', address)),
  instruction('fld', 'D9 /0 reg: T', withRegister('x87LoadRegister')),
  instruction('fild', 'DF /0 mem: Mw', withMemory(2, 'x87LoadInteger', integer(16))),
  instruction('fild', 'DB /0 mem: Md', withMemory(4, 'x87LoadInteger', integer(32))),
  instruction('fild', 'DF /5 mem: Mq', withMemory(8, 'x87LoadInteger', integer(64))),
  instruction('fbld', 'DF /4 mem: Mt', withMemory(10, 'x87LoadBcd', address)),
  ...CONSTANTS.map((name, i) => instruction(`fld${name}`, `D9 /=E${(8 + i).toString(16).toUpperCase()}:`, plain('x87LoadConstant', i))),

  instruction('fst', 'D9 /2 mem: Md=', store(4, 'f32', 0)),
  instruction('fst', 'DD /2 mem: Mq=', store(8, 'f64', 0)),
  instruction('fst', 'DD /2 reg: T=', withRegister('x87StoreRegister', 0)),
  instruction('fstp', 'D9 /3 mem: Md=', store(4, 'f32', 1)),
  instruction('fstp', 'DD /3 mem: Mq=', store(8, 'f64', 1)),
  instruction('fstp', 'DB /7 mem: Mt=', store(10, 'f80', 1)),
  instruction('fstp', ['DD /3 reg: T=', 'DF /2 reg: T=', 'DF /3 reg: T='], withRegister('x87StoreRegister', 1)),
  // Undocumented: no exception for an empty register.
  instruction('fstpnce', 'D9 /3 reg: T=', withRegister('x87StoreQuietly')),
  instruction('fist', 'DF /2 mem: Mw=', store(2, 'i16', 0)),
  instruction('fist', 'DB /2 mem: Md=', store(4, 'i32', 0)),
  instruction('fistp', 'DF /3 mem: Mw=', store(2, 'i16', 1)),
  instruction('fistp', 'DB /3 mem: Md=', store(4, 'i32', 1)),
  instruction('fistp', 'DF /7 mem: Mq=', store(8, 'i64', 1)),
  instruction('fisttp', 'DF /1 mem: Mw=', store(2, 'truncate16', 1)),
  instruction('fisttp', 'DB /1 mem: Md=', store(4, 'truncate32', 1)),
  instruction('fisttp', 'DD /1 mem: Mq=', store(8, 'truncate64', 1)),
  instruction('fbstp', 'DF /6 mem: Mt=', store(10, 'bcd', 1)),

  instruction('fxch', ['D9 /1 reg: T+', 'DD /1 reg: T+', 'DF /1 reg: T+'], withRegister('x87Exchange')),
  ...MOVES.map(([name, encoding, condition]) => instruction(`fcmov${name}`, `${encoding} reg: T`, conditionalMove(condition))),
  instruction('ffree', 'DD /0 reg: T', withRegister('x87Free', 0)),
  instruction('ffreep', 'DF /0 reg: T', withRegister('x87Free', 1)),
  instruction('fdecstp', 'D9 /=F6:', plain('x87Rotate', -1)),
  instruction('fincstp', 'D9 /=F7:', plain('x87Rotate', 1)),

  instruction('fchs', 'D9 /=E0:', plain('x87ChangeSign')),
  instruction('fabs', 'D9 /=E1:', plain('x87Absolute')),
  instruction('ftst', 'D9 /=E4:', plain('x87Test')),
  instruction('fxam', 'D9 /=E5:', plain('x87Examine')),
  instruction('fxtract', 'D9 /=F4:', plain('x87FunctionOfOne', 0)),
  instruction('fprem1', 'D9 /=F5:', plain('x87Remainder', 1)),
  instruction('fprem', 'D9 /=F8:', plain('x87Remainder', 0)),
  instruction('fsqrt', 'D9 /=FA:', plain('x87SquareRoot')),
  instruction('frndint', 'D9 /=FC:', plain('x87RoundToInteger')),
  instruction('fscale', 'D9 /=FD:', plain('x87Scale')),

  instruction('f2xm1', 'D9 /=F0:', plain('x87Function', 0)),
  instruction('fyl2x', 'D9 /=F1:', plain('x87FunctionOfTwo', 0)),
  instruction('fptan', 'D9 /=F2:', plain('x87FunctionOfOne', 2)),
  instruction('fpatan', 'D9 /=F3:', plain('x87FunctionOfTwo', 2)),
  instruction('fyl2xp1', 'D9 /=F9:', plain('x87FunctionOfTwo', 1)),
  instruction('fsincos', 'D9 /=FB:', plain('x87FunctionOfOne', 1)),
  instruction('fsin', 'D9 /=FE:', plain('x87Function', 1)),
  instruction('fcos', 'D9 /=FF:', plain('x87Function', 2)),

  instruction('fnop', 'D9 /=D0:', () => {}),
  // FENI, FDISI (8087) and FSETPM (80287) do nothing.
  quiet('fnop', ['DB /=E0:', 'DB /=E1:', 'DB /=E4:'], () => {}),
  quiet('fninit', 'DB /=E3:', (o) => void call(o, 'x87Initialize')),
  quiet('fnclex', 'DB /=E2:', (o) => o.setState32(L.FSW, o.b.op('i32.and', o.state32(L.FSW), o.b.i32(0x7f00)))),
  quiet('fnstcw', 'D9 /7 mem: Mw=', storeWord(control)),
  quiet('fnstsw', 'DD /7 mem: Mw=', storeWord(status)),
  quiet('fnstsw', 'DF /=E0:', (o) => o.writeGpr(RAX, 16, o.wide(status(o)))),
  instruction('fldcw', 'D9 /5 mem: Mw', (o) => void call(o, 'x87SetControl', o.narrow(o.get(0)))),
  quiet('fnstenv', 'D9 /6 mem: M=', image('x87StoreEnvironment', 0), { sized: true }),
  instruction('fldenv', 'D9 /4 mem: M', image('x87LoadEnvironment', 0), { sized: true }),
  quiet('fnsave', 'DD /6 mem: M=', image('x87Save', 80), { sized: true }),
  instruction('frstor', 'DD /4 mem: M', image('x87Restore', 80), { sized: true }),
  row('fwait', '9B:', (o) => {
    const { b } = o;
    const both = b.i32(CR0_MP | CR0_TS);
    o.if(b.op('i32.eq', b.op('i32.and', o.state32(L.CR0), both), both), () => o.fault(NM));
    reportPending(o);
  }),
]; // prettier-ignore
