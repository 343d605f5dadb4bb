/**
 * Vector operands in the semantics of rows: MMX, XMM and YMM registers and memory, as 128-bit parts (the low half of a
 * register first). MMX operands are the low half of their part. SDM vol. 1, chapters 9 to 14.
 */
import { XM } from './faults.ts';
import type { Ops } from './ops.ts';
import * as L from './runtime/layout.ts';
import type { Node } from './wasm/ir.ts';

export type FloatType = 'f32' | 'f64';
export type ElementType = FloatType | 'i32' | 'i64';

const LANES: Readonly<Record<ElementType, string>> = { f32: 'f32x4', f64: 'f64x2', i32: 'i32x4', i64: 'i64x2' };
const BYTES: Readonly<Record<ElementType, number>> = { f32: 4, f64: 8, i32: 4, i64: 8 };

export const zeroVector = (o: Ops): Node => o.b.v128(0n, 0n);

/** The immediate byte as i32, 0 to 255. */
export function immediateByte(o: Ops): Node {
  return o.b.op('i32.and', o.narrow(o.immediate()), o.b.i32(0xff));
}

/** Calls a function of the runtime by name. */
export function callRuntime(o: Ops, name: string, ...args: readonly Node[]): Node {
  const callee = o.callees[name];
  if (!callee) throw new Error(`bug: the runtime has no ${name}`);
  return o.b.call(callee, ...args);
}

/** Memory operands of 16 bytes must be aligned for legacy encodings, unless the row says otherwise. SDM vol. 1, 11.3 and 14.9. */
function checkAlignment(o: Ops, i: number): void {
  if (!o.encoding.vex && !o.encoding.row.unaligned && o.isMemory(i) && o.bits(i) === 128) o.requireAligned(16);
}

/**
 * Parts of operand `i`. Of a memory operand narrower than 128 bits the rest is zero; of a register it is what is there.
 */
export function vector(o: Ops, i: number): Node[] {
  checkAlignment(o, i);
  if (o.isMemory(i) && o.bits(i) === 16) return [replace(o, 'i32', zeroVector(o), 0, o.narrow(o.get(i)))];
  return o.getVector(i);
}

/** Writes operand `i`, in its own width. An MMX register's exponent becomes all ones and the x87 stack is full then. */
export function setVector(o: Ops, i: number, parts: readonly Node[]): void {
  const { b } = o;
  const { letter } = o.operand(i);
  const bits = o.bits(i);
  if (o.isMemory(i)) {
    checkAlignment(o, i);
    const host = o.host(true, bits / 8, true);
    if (bits < 128) {
      const type = bits === 64 ? 'i64' : 'i32';
      b.store(`${type}.store`, b.get(host), b.op(`${LANES[type]}.extract_lane`, parts[0]!, 0));
    } else parts.forEach((part, n) => b.store('v128.store', b.get(host), part, n * 16));
    o.commit(host);
    return;
  }
  if ('PQN'.includes(letter)) {
    const address = o.vectorAddress(o.operand(i));
    b.store('i64.store', address, b.op('i64x2.extract_lane', parts[0]!, 0));
    b.store('i32.store16', address, b.i32(0xffff), 8);
    enterMmx(o);
    return;
  }
  o.setVector(i, parts);
}

/** What every MMX instruction but EMMS does to the x87 state: TOP 0, all registers valid. SDM vol. 1, 9.6.2. */
export function enterMmx(o: Ops): void {
  o.setState32(L.FTOP, o.b.i32(0));
  o.setState32(L.FTAG, o.b.i32(0xff));
}

/** The low element of operand `i`, from a register or from that many bytes of memory. */
export function element(o: Ops, i: number, type: ElementType): Node {
  if (!o.isMemory(i)) return extract(o, type, o.readVector(o.operand(i), 0), 0);
  return o.b.load(`${type}.load`, o.b.get(o.host(o.operand(i).access !== 'r', BYTES[type])));
}

/**
 * Writes only the low element of operand `i`: a register keeps the rest. It is written as a whole, since what reads it next does
 * so too, and hosts are slow to read what was written in pieces.
 */
export function setElement(o: Ops, i: number, type: ElementType, value: Node): void {
  if (!o.isMemory(i)) {
    const operand = o.operand(i);
    o.writeVector(operand, 0, replace(o, type, o.readVector(operand, 0), 0, value));
    return;
  }
  const host = o.host(true, BYTES[type], true);
  o.b.store(`${type}.store`, o.b.get(host), value);
  o.commit(host);
}

export function extract(o: Ops, type: ElementType, part: Node, lane: number): Node {
  return o.b.op(`${LANES[type]}.extract_lane`, part, lane);
}

export function replace(o: Ops, type: ElementType, part: Node, lane: number, value: Node): Node {
  return o.b.op(`${LANES[type]}.replace_lane`, part, value, lane);
}

/** A scalar result: the rest of the register stays, or with VEX comes from the first source. */
export function setScalar(o: Ops, type: ElementType, value: Node): void {
  if (o.encoding.vex) o.setVector(0, [replace(o, type, o.getVector(1)[0]!, 0, value)]);
  else setElement(o, 0, type, value);
}

/** Elements of `bytes` bytes chosen from those of `a` (numbered from 0) and, after them, `b`. */
export function shuffle(o: Ops, a: Node, b: Node, bytes: number, elements: readonly number[]): Node {
  const indices = elements.flatMap((each) => Array.from({ length: bytes }, (_, n) => each * bytes + n));
  return o.b.op('i8x16.shuffle', a, b, ...indices);
}

/** Flags of the result (OE, UE, PE), and the exceptions found before one is computed (IE, DE, ZE). */
const RESULT_FLAGS = 0x38;
const OPERAND_FLAGS = 7;

/**
 * Floating point in the runtime: #XM after `compute` when it raised an unmasked exception, before anything is written.
 * @param parts how many calls share the exception: with an unmasked IE, DE or ZE in one, no other's result sets flags either
 */
export function floating<T>(o: Ops, parts: number, compute: () => T): T {
  const { b } = o;
  const before = parts > 1 ? b.variable('i32', o.state32(L.MXCSR)) : undefined;
  const result = compute();
  o.if(o.state32(L.SSE_FAULT), () => {
    if (before) {
      o.if(b.op('i32.and', o.state32(L.SSE_FAULT), b.i32(OPERAND_FLAGS)), () => {
        const old = b.op('i32.and', b.get(before), b.i32(RESULT_FLAGS));
        o.setState32(L.MXCSR, b.op('i32.or', b.op('i32.and', o.state32(L.MXCSR), b.i32(~RESULT_FLAGS)), old));
      });
    }
    o.setState32(L.SSE_FAULT, b.i32(0));
    o.fault(XM);
  });
  return result;
}
