/**
 * String instructions. A repeated one does one element at a time, so that a fault or an interrupt in the middle finds
 * the registers as the manual says; but first the runtime is asked to do as many at once as lie within a page.
 */
import { FOR_WRITING, RAX, RCX, RDI, RSI, type Ops } from '../ops.ts';
import { ES } from '../state.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row, type Semantics } from './row.ts';

const bytesOf = (o: Ops): number => o.size / 8;
const source = (o: Ops): Node => o.segmented(o.and(o.readGpr(RSI, 64), o.addressMask()), bytesOf(o));
const destination = (o: Ops, access = 0): Node => o.extraSegment(o.and(o.readGpr(RDI, 64), o.addressMask()), bytesOf(o) | access);

function advance(o: Ops, register: number): void {
  o.writeAddressSized(register, o.add(o.readGpr(register, 64), o.step(bytesOf(o))));
}

/**
 * Wraps one element's work into the repetition, which a comparison may end early. `bulk` names the runtime's function that
 * does some elements and answers whether it did any.
 */
function repeated(element: (o: Ops) => void, bulk: string, compares = false): Semantics {
  return (o) => {
    const { rep } = o.variant;
    if (rep === 'none') return element(o);
    const mask = o.addressMask();
    const count = (): Node => o.and(o.readGpr(RCX, 64), mask);
    o.if(o.narrow(o.wide(o.isFalse(o.isZero(count())))), () => {
      const whileEqual = compares ? [o.b.i32(rep === 'rep' ? 1 : 0)] : [];
      o.if(o.b.call(o.callees[bulk]!, o.recordAddress(), o.b.i32(bytesOf(o)), ...whileEqual), () => o.again());
      element(o);
      const left = o.and(o.sub(o.readGpr(RCX, 64), o.const(1)), mask);
      o.writeAddressSized(RCX, left);
      const more = o.isFalse(o.isZero(left));
      // REPE goes on while ZF is set, REPNE while it is clear.
      o.if(compares ? o.b.op('i32.and', more, o.b.op('i32.ne', o.condition(rep === 'repne' ? 5 : 4), o.b.i32(0))) : more, () => o.again());
    });
  };
}

const movs = (o: Ops): void => {
  const value = o.readMemory(source(o), o.size);
  o.writeMemory(destination(o, FOR_WRITING), o.size, value, ES);
  advance(o, RSI);
  advance(o, RDI);
};

const stos = (o: Ops): void => {
  o.writeMemory(destination(o, FOR_WRITING), o.size, o.readGpr(RAX, o.size), ES);
  advance(o, RDI);
};

const lods = (o: Ops): void => {
  o.writeGpr(RAX, o.size, o.readMemory(source(o), o.size));
  advance(o, RSI);
};

const cmps = (o: Ops): void => {
  const b = o.readMemory(destination(o), o.size, ES);
  const a = o.readMemory(source(o), o.size);
  advance(o, RSI);
  advance(o, RDI);
  o.flagsSub(a, b, o.cut(o.sub(a, b)));
};

const scas = (o: Ops): void => {
  const a = o.readGpr(RAX, o.size);
  const b = o.readMemory(destination(o), o.size, ES);
  advance(o, RDI);
  o.flagsSub(a, b, o.cut(o.sub(a, b)));
};

const string = { string: true, addressed: true } as const;

function family(mnemonic: string, byte: string, wide: string, semantics: Semantics): Row[] {
  return [
    row(`${mnemonic}b`, `${byte}:`, semantics, { ...string, byteSized: true }),
    row(mnemonic, `${wide}:`, semantics, { ...string, sized: true }),
  ];
}

export const STRING: readonly Row[] = [
  ...family('movs', 'A4', 'A5', repeated(movs, 'bulkMovs')),
  ...family('stos', 'AA', 'AB', repeated(stos, 'bulkStos')),
  ...family('lods', 'AC', 'AD', repeated(lods, 'bulkLods')),
  ...family('cmps', 'A6', 'A7', repeated(cmps, 'bulkCmps', true)),
  ...family('scas', 'AE', 'AF', repeated(scas, 'bulkScas', true)),
  row('insb', '6C:', 'inputString', { ...string, byteSized: true }),
  row('ins', '6D:', 'inputString', { ...string, sized: true }),
  row('outsb', '6E:', 'outputString', { ...string, byteSized: true }),
  row('outs', '6F:', 'outputString', { ...string, sized: true }),
];
