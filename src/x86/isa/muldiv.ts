/** Multiplication and division. SDM vol. 2, MUL, IMUL, DIV, IDIV, MULX. */
import { DE } from '../faults.ts';
import { AF, ARITHMETIC, PF, SF, ZF } from '../flags.ts';
import { RAX, RDX, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row, type Semantics } from './row.ts';

/** Low and high halves of a product; the high half is zero-extended from `bits`. */
function product(o: Ops, a: Node, b: Node, bits: number, signed: boolean): { low: Node; high: Node } {
  if (bits === 64) {
    return { low: o.mul(a, b), high: o.b.call(o.callees[signed ? 'smulh' : 'umulh']!, a, b) };
  }
  const whole = signed ? o.mul(o.signed(a, bits), o.signed(b, bits)) : o.mul(a, b);
  return { low: o.cut(whole, bits), high: o.cut(o.shr(whole, o.const(bits)), bits) };
}

function wideMultiply(signed: boolean): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const { low, high } = product(o, o.get(0), o.readGpr(RAX, bits), bits, signed);
    if (bits === 8) o.writeGpr(RAX, 16, o.or(low, o.shl(high, o.const(8))));
    else {
      o.writeGpr(RAX, bits, low);
      o.writeGpr(RDX, bits, high);
    }
    o.productFlags(low, high, bits, signed);
  };
}

function multiply(left: number, right: number): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const [a, b] = [o.get(left), o.get(right)];
    if (bits === 64) {
      o.set(0, o.mul(a, b));
      o.flagsMultiply(a, b);
      return;
    }
    const { low, high } = product(o, a, b, bits, true);
    o.set(0, low);
    o.productFlags(low, high, bits, true);
  };
}

/** RDX:RAX by a divisor that is not zero. A dividend of 64 bits, the usual one, is divided here; the runtime does the others. */
function divide128(o: Ops, divisor: Node, signed: boolean): void {
  const [high, low] = [o.readGpr(RDX, 64), o.readGpr(RAX, 64)];
  const short = o.eq(high, signed ? o.sar(low, o.const(63)) : o.const(0));
  // Dividing by -1 may overflow, where wasm would trap.
  o.if(signed ? o.b.op('i32.and', short, o.ne(divisor, o.const(-1))) : short, () => {
    const quotient = o.b.op(signed ? 'i64.div_s' : 'i64.div_u', low, divisor);
    o.writeGpr(RAX, 64, quotient);
    o.writeGpr(RDX, 64, o.sub(low, o.mul(quotient, divisor)));
  }, () => {
    const failed = o.b.call(o.callees[signed ? 'divideSigned128' : 'divideUnsigned128']!, high, low, divisor);
    o.if(failed, () => o.fault(DE));
    o.writeGpr(RAX, 64, o.state64(L.SCRATCH));
    o.writeGpr(RDX, 64, o.state64(L.SCRATCH + 8));
  }); // prettier-ignore
}

function divide(signed: boolean): Semantics {
  return (o) => {
    const bits = o.bits(0);
    const divisor = o.get(0);
    o.if(o.isZero(divisor), () => o.fault(DE));
    if (bits === 64) return divide128(o, divisor, signed);
    const dividend = bits === 8 ? o.readGpr(RAX, 16) : o.or(o.shl(o.readGpr(RDX, bits), o.const(bits)), o.readGpr(RAX, bits));
    let quotient: Node;
    let remainder: Node;
    if (signed) {
      const a = o.signed(dividend, bits * 2);
      const b = o.signed(divisor, bits);
      // The one quotient that i64 cannot hold: wasm would trap.
      if (bits === 32) o.if(o.b.op('i32.and', o.eq(a, o.const(-(1n << 63n))), o.eq(b, o.const(-1))), () => o.fault(DE));
      quotient = o.b.op('i64.div_s', a, b);
      remainder = o.sub(a, o.mul(quotient, b));
      o.if(o.ne(o.signed(quotient, bits), quotient), () => o.fault(DE));
    } else {
      quotient = o.b.op('i64.div_u', dividend, divisor);
      remainder = o.sub(dividend, o.mul(quotient, divisor));
      o.if(o.ne(o.cut(quotient, bits), quotient), () => o.fault(DE));
    }
    if (bits === 8) o.writeGpr(RAX, 16, o.or(o.cut(quotient, 8), o.shl(o.cut(remainder, 8), o.const(8))));
    else {
      o.writeGpr(RAX, bits, o.cut(quotient, bits));
      o.writeGpr(RDX, bits, o.cut(remainder, bits));
    }
  };
}

const undefinedByMultiply = SF | ZF | AF | PF;

export const MULDIV: readonly Row[] = [
  row('mul', ['F6 /4: Eb', 'F7 /4: Ev'], wideMultiply(false), { undefinedFlags: undefinedByMultiply }),
  row('imul', ['F6 /5: Eb', 'F7 /5: Ev'], wideMultiply(true), { undefinedFlags: undefinedByMultiply }),
  row('imul', '0F AF /r: Gv+ Ev', multiply(0, 1), { undefinedFlags: undefinedByMultiply }),
  row('imul', ['69 /r: Gv= Ev Iz', '6B /r: Gv= Ev Ib'], multiply(1, 2), { undefinedFlags: undefinedByMultiply }),
  row('div', ['F6 /6: Eb', 'F7 /6: Ev'], divide(false), { undefinedFlags: ARITHMETIC }),
  row('idiv', ['F6 /7: Eb', 'F7 /7: Ev'], divide(true), { undefinedFlags: ARITHMETIC }),
  row('mulx', 'VEX.128.F2.0F38 F6 /r: Gy= By= Ey', (o) => {
    const bits = o.bits(0);
    const { low, high } = product(o, o.get(2), o.readGpr(RDX, bits), bits, false);
    o.set(1, low);
    o.set(0, high); // when both name one register, it holds the high half
  }, { feature: 'bmi2' }),
]; // prettier-ignore
