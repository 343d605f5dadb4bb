/** Saving and restoring of the x87, SSE and AVX state in one piece. SDM vol. 2; vol. 1, 10.5 and chapter 13. */
import { GP, NM, SS, UD } from '../faults.ts';
import { RAX, RDX, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

const CR0_TS = 8;
const CR4_OSXSAVE = 1 << 18;
/** Upper half of what linear addresses are made when a segment does not allow them: runtime/address.ts. */
const VIOLATION = 1n << 31n;

/** Modes of the runtime's functions. */
const XSAVEOPT = 1;
const XSAVEC = 2;
const XSAVES = 3;
const WIDE = 4;
const SUPERVISOR = 8;

/** Outside 64-bit code: #GP(0) or #SS(0) unless the segment holds all of the area. */
export function checkArea(o: Ops, bytes: number, unit: number): void {
  if (o.variant.memory !== 'general') return;
  const va = o.linear(1);
  o.if(o.eq(o.shr(o.displaced(o.const(bytes - 1), 1), o.const(32)), o.const(VIOLATION)), () => {
    o.if(o.isFalse(o.b.call(o.callees['areaAligned']!, va, o.b.i32(unit), o.segmentNumber())), () => o.faultRecorded());
    o.if(o.b.op('i32.eq', o.segmentNumber(), o.b.i32(2)), () => o.fault(SS, o.const(0)));
    o.fault(GP, o.const(0));
  });
}

function fx(name: string, wide: number): Semantics {
  return (o) => {
    checkArea(o, 512, 16);
    o.tellPosition();
    const done = o.b.call(o.callees[name]!, o.linear(1), o.b.i32(wide), o.segmentNumber());
    o.if(o.isFalse(done), () => o.faultRecorded());
  };
}

function extended(name: 'xsave' | 'xrstor', mode: number, supervisor: boolean): Semantics {
  return (o) => {
    const { b } = o;
    o.if(o.isFalse(b.op('i32.and', o.state32(L.CR4), b.i32(CR4_OSXSAVE))), () => o.fault(UD));
    if (supervisor) o.requireCpl0();
    o.if(b.op('i32.and', o.state32(L.CR0), b.i32(CR0_TS)), () => o.fault(NM));
    o.requireAligned(64);
    checkArea(o, 576, 16);
    const components = o.or(o.shl(o.readGpr(RDX, 32), o.const(32)), o.readGpr(RAX, 32));
    o.tellPosition();
    const done = b.call(o.callees[name]!, o.linear(64), components, b.i32(mode), o.segmentNumber());
    o.if(o.isFalse(done), () => o.faultRecorded());
  };
}

/** The two forms of each, with 32-bit and with 64-bit pointers. */
function pair(mnemonic: string, encoding: string, semantics: (wide: number) => Semantics, options: RowOptions): Row[] {
  return [
    row(mnemonic, `NP ${encoding}`.replace(' 0F', ' W0 0F'), semantics(0), options),
    row(mnemonic, `NP ${encoding}`.replace(' 0F', ' REX.W 0F'), semantics(WIDE), { ...options, only64: true }),
  ];
}

export const XSAVE: readonly Row[] = [
  ...pair('fxsave', '0F AE /0 mem: M=', (wide) => fx('fxsave', wide), { unit: 'x87' }),
  ...pair('fxrstor', '0F AE /1 mem: M', (wide) => fx('fxrstor', wide), { unit: 'x87' }),
  ...pair('xsave', '0F AE /4 mem: M+', (wide) => extended('xsave', wide, false), { feature: 'xsave' }),
  ...pair('xsaveopt', '0F AE /6 mem: M+', (wide) => extended('xsave', XSAVEOPT | wide, false), { feature: 'xsaveopt' }),
  ...pair('xsavec', '0F C7 /4 mem: M=', (wide) => extended('xsave', XSAVEC | wide, false), { feature: 'xsavec' }),
  ...pair('xsaves', '0F C7 /5 mem: M=', (wide) => extended('xsave', XSAVES | wide, true), { feature: 'xsaves' }),
  ...pair('xrstor', '0F AE /5 mem: M', (wide) => extended('xrstor', wide, false), { feature: 'xsave' }),
  ...pair('xrstors', '0F C7 /3 mem: M', (wide) => extended('xrstor', SUPERVISOR | wide, true), { feature: 'xsaves' }),
];
