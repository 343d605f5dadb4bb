/** Bit tests, scans, counts and BMI. SDM vol. 2. */
import { AF, ARITHMETIC, CF, OF, PF, SF, ZF } from '../flags.ts';
import { FOR_WRITING, type Ops } from '../ops.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row, type Semantics } from './row.ts';

/** BT family. A register index may reach beyond a memory operand; an immediate or a register operand wraps. */
function bitTest(change: ((o: Ops, value: Node, mask: Node) => Node) | undefined): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const index = o.get(1);
    const position = o.and(index, o.const(bits - 1));
    const bit = o.shl(o.const(1), position);
    const carry = (value: Node): void => o.changeFlags(CF, o.narrow(o.and(o.shr(value, position), o.const(1))));
    if (o.isMemory(0) && o.operand(1).letter === 'G') {
      const away = o.shl(o.sar(o.signed(index, bits), o.const(Math.log2(bits))), o.const(Math.log2(bits / 8)));
      const va = o.displaced(away, (bits / 8) | (change ? FOR_WRITING : 0));
      const host = o.translate(va, bits / 8, change !== undefined);
      const value = o.loadHost(host, bits);
      if (change) {
        o.storeHost(host, bits, change(o, value, bit));
        o.commit(host);
      }
      carry(value);
      return;
    }
    const value = o.get(0);
    if (change) o.set(0, change(o, value, bit));
    carry(value);
  };
}

function bitTestFamily(mnemonic: string, opcode: string, digit: number, change?: (o: Ops, value: Node, mask: Node) => Node): Row {
  const plus = change ? '+' : '';
  return row(mnemonic, [`0F ${opcode} /r: Ev${plus} Gv`, `0F BA /${digit}: Ev${plus} Ib`], bitTest(change), {
    lock: change !== undefined,
    undefinedFlags: OF | SF | AF | PF,
  });
}

/** Position of the lowest set bit. */
const lowest = (o: Ops, x: Node): Node => o.b.op('i64.ctz', x);
/** Position of the highest set bit. */
const highest = (o: Ops, x: Node): Node => o.sub(o.const(63), o.b.op('i64.clz', x));

/** BSF and BSR leave the destination as it was when the source is zero (AMD documents it, Intel does it). */
function scan(find: (o: Ops, x: Node) => Node): Semantics {
  return (o) => {
    const source = o.get(1);
    // Not written at all: a 32-bit destination keeps its upper half too.
    o.if(o.isFalse(o.isZero(source)), () => o.set(0, find(o, source)));
    o.changeFlags(ZF, o.b.op('i32.shl', o.isZero(source), o.b.i32(6)));
  };
}

/** TZCNT and LZCNT: CF when the source is zero, ZF when the result is. */
function count(find: (o: Ops, x: Node, bits: number) => Node): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const source = o.get(1);
    const result = find(o, source, bits);
    o.set(0, result);
    o.changeFlags(CF | ZF, o.aux(o.isZero(source), o.b.op('i32.shl', o.isZero(result), o.b.i32(6))));
  };
}

const bmi1 = { feature: 'bmi1', undefinedFlags: AF | PF } as const;
const bmi2 = { feature: 'bmi2' } as const;

/** BLSI, BLSMSK, BLSR: flags by result, CF by whether the source was (or was not) zero. */
function lowestSet(compute: (o: Ops, x: Node) => Node, carryWhenZero: boolean): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const source = o.get(1);
    const result = o.cut(compute(o, source), bits);
    o.set(0, result);
    const zero = o.isZero(source);
    o.setFlags(result, carryWhenZero ? zero : o.isFalse(zero), bits);
  };
}

export const BITS: readonly Row[] = [
  bitTestFamily('bt', 'A3', 4),
  bitTestFamily('bts', 'AB', 5, (o, value, mask) => o.or(value, mask)),
  bitTestFamily('btr', 'B3', 6, (o, value, mask) => o.and(value, o.not(mask))),
  bitTestFamily('btc', 'BB', 7, (o, value, mask) => o.xor(value, mask)),
  row('bsf', '0F BC /r: Gv+ Ev', scan(lowest), { undefinedFlags: ARITHMETIC ^ ZF }),
  row('bsr', '0F BD /r: Gv+ Ev', scan(highest), { undefinedFlags: ARITHMETIC ^ ZF }),
  row('tzcnt', 'F3 0F BC /r: Gv= Ev', count((o, x, bits) => o.b.op('i64.ctz', bits === 64 ? x : o.or(x, o.const(1n << BigInt(bits))))), { feature: 'bmi1', undefinedFlags: OF | SF | AF | PF }),
  row('lzcnt', 'F3 0F BD /r: Gv= Ev', count((o, x, bits) => o.sub(o.b.op('i64.clz', x), o.const(64 - bits))), { feature: 'lzcnt', undefinedFlags: OF | SF | AF | PF }),
  row('popcnt', 'F3 0F B8 /r: Gv= Ev', (o) => {
    const source = o.get(1);
    o.set(0, o.b.op('i64.popcnt', source));
    o.unpackFlags(o.b.op('i32.shl', o.isZero(source), o.b.i32(6)));
  }, { feature: 'popcnt' }),
  row('andn', 'VEX.128.NP.0F38 F2 /r: Gy= By Ey', (o) => {
    const result = o.and(o.not(o.get(1)), o.get(2));
    o.set(0, result);
    o.flagsLogic(o.cut(result, o.bits(0)), o.bits(0));
  }, bmi1),
  row('blsr', 'VEX.128.NP.0F38 F3 /1: By= Ey', lowestSet((o, x) => o.and(x, o.sub(x, o.const(1))), true), bmi1),
  row('blsmsk', 'VEX.128.NP.0F38 F3 /2: By= Ey', lowestSet((o, x) => o.xor(x, o.sub(x, o.const(1))), true), bmi1),
  row('blsi', 'VEX.128.NP.0F38 F3 /3: By= Ey', lowestSet((o, x) => o.and(x, o.sub(o.const(0), x)), false), bmi1),
  row('bextr', 'VEX.128.NP.0F38 F7 /r: Gy= Ey By', (o) => {
    const bits = o.bits(0);
    const control = o.get(2);
    const start = o.and(control, o.const(0xff));
    const length = o.and(o.shr(control, o.const(8)), o.const(0xff));
    const shifted = o.select(o.shr(o.get(1), start), o.const(0), o.below(start, o.const(64)));
    const mask = o.select(o.sub(o.shl(o.const(1), length), o.const(1)), o.const(-1), o.below(length, o.const(64)));
    const result = o.cut(o.and(shifted, mask), bits);
    o.set(0, result);
    // ZF by result; CF and OF clear; the rest is undefined.
    o.flagsLogic(result, bits);
  }, { feature: 'bmi1', undefinedFlags: AF | SF | PF }),
  row('bzhi', 'VEX.128.NP.0F38 F5 /r: Gy= Ey By', (o) => {
    const bits = o.bits(0);
    const index = o.and(o.get(2), o.const(0xff));
    const inside = o.below(index, o.const(bits));
    const result = o.select(o.and(o.get(1), o.sub(o.shl(o.const(1), index), o.const(1))), o.get(1), inside);
    o.set(0, result);
    o.setFlags(result, o.isFalse(inside), bits);
  }, { feature: 'bmi2', undefinedFlags: AF | PF }),
  row('pdep', 'VEX.128.F2.0F38 F5 /r: Gy= By Ey', (o) => o.set(0, o.b.call(o.callees['pdep64']!, o.get(1), o.get(2))), bmi2),
  row('pext', 'VEX.128.F3.0F38 F5 /r: Gy= By Ey', (o) => o.set(0, o.b.call(o.callees['pext64']!, o.get(1), o.get(2))), bmi2),
]; // prettier-ignore
