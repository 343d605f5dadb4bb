/** Shifts and rotates. The count is masked to 5 bits (6 for 64-bit operands); a masked count of 0 changes no flag. SDM vol. 2. */
import { AF, CF, OF } from '../flags.ts';
import type { Ops } from '../ops.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row, type Semantics } from './row.ts';

type ShiftFunction = (o: Ops, a: Node, count: Node) => { result: Node; flags: () => void };

function shifted(compute: ShiftFunction): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const a = o.get(0);
    const count = o.and(o.get(1), o.const(bits === 64 ? 63 : 31));
    const { result, flags } = compute(o, a, count);
    o.set(0, result);
    o.if(o.narrow(count), flags);
  };
}

const bit = (o: Ops, x: Node, position: Node): Node => o.and(o.shr(x, position), o.const(1));
const top = (o: Ops, x: Node): Node => o.and(o.shr(x, o.const(o.bits(0) - 1)), o.const(1));
/** CF and OF (as i64 bits) at their places. */
const carryOverflow = (o: Ops, carry: Node, overflow: Node): Node => o.narrow(o.or(carry, o.shl(overflow, o.const(11))));

const shl: ShiftFunction = (o, a, count) => {
  const bits = o.bits(0);
  const result = o.cut(o.shl(a, count), bits);
  return {
    result,
    flags() {
      const carry = bits === 64 ? bit(o, a, o.sub(o.const(64), count)) : bit(o, o.shl(a, count), o.const(bits));
      o.setFlags(result, carryOverflow(o, carry, o.xor(top(o, result), carry)), bits);
    },
  };
};

const shr: ShiftFunction = (o, a, count) => {
  const result = o.shr(a, count);
  return { result, flags: () => o.setFlags(result, carryOverflow(o, bit(o, a, o.sub(count, o.const(1))), top(o, a)), o.bits(0)) };
};

const sar: ShiftFunction = (o, a, count) => {
  const bits = o.bits(0);
  const value = o.signed(a, bits);
  const result = o.cut(o.sar(value, count), bits);
  return { result, flags: () => o.setFlags(result, o.narrow(o.and(o.sar(value, o.sub(count, o.const(1))), o.const(1))), bits) };
};

/** Rotates change CF and OF only. */
const rotate = (o: Ops, result: Node, carry: Node, overflow: Node): { result: Node; flags: () => void } => ({
  result,
  flags: () => o.changeFlags(CF | OF, carryOverflow(o, carry, overflow)),
});

function rotated(o: Ops, a: Node, left: Node): Node {
  const bits = o.bits(0);
  if (bits === 64) return o.b.op('i64.rotl', a, left);
  if (bits === 32) return o.wide(o.b.op('i32.rotl', o.narrow(a), o.narrow(left)));
  const count = o.and(left, o.const(bits - 1));
  return o.cut(o.or(o.shl(a, count), o.shr(a, o.sub(o.const(bits), count))), bits);
}

const rol: ShiftFunction = (o, a, count) => {
  const result = rotated(o, a, count);
  const carry = o.and(result, o.const(1));
  return rotate(o, result, carry, o.xor(top(o, result), carry));
};

const ror: ShiftFunction = (o, a, count) => {
  const result = rotated(o, a, o.sub(o.const(o.bits(0)), count));
  const carry = top(o, result);
  return rotate(o, result, carry, o.xor(carry, bit(o, result, o.const(o.bits(0) - 2))));
};

/** Rotate through carry: of a number one bit wider. Counts of 8- and 16-bit operands are taken modulo 9 and 17. */
function throughCarry(direction: 'left' | 'right'): ShiftFunction {
  return (o, a, masked) => {
    const bits = o.bits(0);
    const carryIn = o.carry();
    let result: Node;
    let carry: Node;
    if (bits === 64) {
      const back = o.sub(o.const(64), masked);
      const none = o.isZero(masked);
      const rotatedBits =
        direction === 'left'
          ? o.or(o.or(o.shl(a, masked), o.shl(carryIn, o.sub(masked, o.const(1)))), o.shr(o.shr(a, o.const(1)), back))
          : o.or(o.or(o.shr(a, masked), o.shl(carryIn, back)), o.shl(o.shl(a, o.const(1)), back));
      result = o.select(a, rotatedBits, none);
      carry = direction === 'left' ? bit(o, a, back) : bit(o, a, o.sub(masked, o.const(1)));
    } else {
      const width = bits + 1;
      const count = bits === 32 ? masked : o.b.op('i64.rem_u', masked, o.const(width));
      const wide = o.or(a, o.shl(carryIn, o.const(bits)));
      const other = o.sub(o.const(width), count);
      const rotatedBits =
        direction === 'left' ? o.or(o.shl(wide, count), o.shr(wide, other)) : o.or(o.shr(wide, count), o.shl(wide, other));
      result = o.cut(rotatedBits, bits);
      carry = bit(o, rotatedBits, o.const(bits));
    }
    const overflow = direction === 'left' ? o.xor(top(o, result), carry) : o.xor(top(o, result), bit(o, result, o.const(bits - 2)));
    return rotate(o, result, carry, overflow);
  };
}

function group(mnemonic: string, number: number, compute: ShiftFunction, undefinedFlags: number): Row {
  const encodings = ['C0 /N: Eb+ Ib', 'C1 /N: Ev+ Ib', 'D0 /N: Eb+ 1', 'D1 /N: Ev+ 1', 'D2 /N: Eb+ CL', 'D3 /N: Ev+ CL'];
  return row(
    mnemonic,
    encodings.map((text) => text.replace('/N', `/${number}`)),
    shifted(compute),
    { undefinedFlags },
  );
}

/** SHLD and SHRD. Counts beyond a 16-bit operand's size are undefined; we take the bits that the operands' concatenation gives. */
function double(direction: 'left' | 'right'): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const a = o.get(0);
    const fill = o.get(1);
    const count = o.and(o.get(2), o.const(bits === 64 ? 63 : 31));
    const back = o.sub(o.const(bits), count);
    const left = direction === 'left';
    let result: Node;
    let carry: Node;
    if (bits === 16) {
      // 16-bit counts reach 31: the filled-in operand comes again.
      const twice = o.or(o.shl(fill, o.const(16)), fill);
      const chain = left ? o.or(o.shl(a, o.const(32)), twice) : o.or(o.shl(twice, o.const(16)), a);
      result = left ? o.cut(o.shr(chain, o.sub(o.const(32), count)), 16) : o.cut(o.shr(chain, count), 16);
      carry = left ? bit(o, chain, o.sub(o.const(48), count)) : bit(o, chain, o.sub(count, o.const(1)));
    } else {
      const moved = left ? o.or(o.shl(a, count), o.shr(fill, back)) : o.or(o.shr(a, count), o.shl(fill, back));
      result = o.select(a, o.cut(moved, bits), o.isZero(count));
      carry = left ? bit(o, a, back) : bit(o, a, o.sub(count, o.const(1)));
    }
    o.set(0, result);
    o.if(o.narrow(count), () => o.setFlags(result, carryOverflow(o, carry, o.xor(top(o, result), top(o, a))), bits));
  };
}

export const SHIFT: readonly Row[] = [
  group('rol', 0, rol, OF),
  group('ror', 1, ror, OF),
  group('rcl', 2, throughCarry('left'), OF),
  group('rcr', 3, throughCarry('right'), OF),
  group('shl', 4, shl, OF | AF | CF),
  group('shr', 5, shr, OF | AF | CF),
  group('shl', 6, shl, OF | AF | CF),
  group('sar', 7, sar, OF | AF),
  row('shld', ['0F A4 /r: Ev+ Gv Ib', '0F A5 /r: Ev+ Gv CL'], double('left'), { undefinedFlags: OF | AF | CF }),
  row('shrd', ['0F AC /r: Ev+ Gv Ib', '0F AD /r: Ev+ Gv CL'], double('right'), { undefinedFlags: OF | AF | CF }),
  row('shlx', ['VEX.128.66.0F38 F7 /r: Gy= Ey By'], (o) => o.set(0, o.shl(o.get(1), count3(o))), { feature: 'bmi2' }),
  row('shrx', ['VEX.128.F2.0F38 F7 /r: Gy= Ey By'], (o) => o.set(0, o.shr(o.get(1), count3(o))), { feature: 'bmi2' }),
  row('sarx', ['VEX.128.F3.0F38 F7 /r: Gy= Ey By'], (o) => o.set(0, o.sar(o.signed(o.get(1), o.bits(0)), count3(o))), { feature: 'bmi2' }),
  row('rorx', ['VEX.128.F2.0F3A F0 /r: Gy= Ey Ib'], (o) => {
    const a = o.get(1);
    const count = o.get(2);
    o.set(0, o.bits(0) === 64 ? o.b.op('i64.rotr', a, count) : o.wide(o.b.op('i32.rotr', o.narrow(a), o.narrow(count))));
  }, { feature: 'bmi2' }),
]; // prettier-ignore

/** Shifts by an operand-sized count, masked as the shift is. */
function count3(o: Ops): Node {
  return o.and(o.get(2), o.const(o.bits(0) - 1));
}
