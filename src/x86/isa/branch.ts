/** Transfers of control within a code segment; far ones are system routines. SDM vol. 2. */
import { CONDITIONS } from '../flags.ts';
import { RCX, RSP, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { row, type Row, type Semantics } from './row.ts';

const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');
const near = { stack64: true, modal: true, ends: true } as const;

/** LOOP family: counts in CX, ECX or RCX by address size. */
function loop(more: (o: Ops) => ReturnType<Ops['condition']> | undefined): Semantics {
  return (o) => {
    const mask = o.addressMask();
    const counter = o.readGpr(RCX, 64);
    const count = o.and(o.sub(counter, o.const(1)), mask);
    const again = o.b.op('i32.eqz', o.isZero(count));
    const condition = more(o);
    const taken = condition ? o.b.op('i32.and', again, o.b.op('i32.ne', condition, o.b.i32(0))) : again;
    if (!o.long) o.if(taken, () => void o.branchTarget()); // a target beyond CS faults before the count changes
    // A 32-bit count clears the upper half, a 16-bit one keeps it, as any write of that size.
    o.writeAddressSized(RCX, count);
    o.branchIf(taken);
  };
}

/** The target outside 64-bit code is cut to the operand size. */
function target(o: Ops): ReturnType<Ops['get']> {
  return o.codeAddress(o.get(0));
}

/** IRETQ between 64-bit code at CPL 0 and that or the user's is done in the runtime; everything else by the system routine. */
function interruptReturn(o: Ops): void {
  if (o.size !== 64) return o.system();
  o.if(o.b.op('i32.eqz', o.b.call(o.callees['interruptReturn']!)), () => o.system());
  o.unpackFlags(o.state32(L.TRANSFER + 8));
  o.jumpWithCheck(o.state64(L.TRANSFER));
}

export const BRANCH: readonly Row[] = [
  row('jmp', ['EB: Jb', 'E9: Jz'], (o) => o.jumpRelative(), near),
  row('jmp', 'FF /4: Ev', (o) => o.jumpTo(target(o)), near),
  ...CONDITIONS.map((name, code) =>
    row(`j${name}`, [`${hex(0x70 + code)}: Jb`, `0F ${hex(0x80 + code)}: Jz`], (o) => o.branchIf(o.condition(code)), { stack64: true, modal: true, conditional: true }),
  ),
  row('call', 'E8: Jz', (o) => {
    if (!o.long) {
      // A target beyond CS faults before anything is pushed, but after the stack has been looked at.
      o.probePush(o.size);
      o.branchTarget();
    }
    o.push(o.codeOffset(o.nextAddress()), o.size);
    o.jumpRelative();
  }, near),
  row('call', 'FF /2: Ev', (o) => {
    const offset = o.get(0);
    const to = o.codeAddress(offset, () => o.probePush(o.size));
    o.push(o.codeOffset(o.nextAddress()), o.size);
    o.jumpTo(to);
  }, near),
  row('ret', 'C3:', (o) => {
    const to = o.codeAddress(o.peek(o.size));
    o.setStackPointer(o.add(o.readGpr(RSP, 64), o.const(o.size / 8)));
    o.jumpTo(to);
  }, near),
  row('ret', 'C2: Iw', (o) => {
    const to = o.codeAddress(o.peek(o.size));
    o.setStackPointer(o.add(o.readGpr(RSP, 64), o.add(o.get(0), o.const(o.size / 8))));
    o.jumpTo(to);
  }, near),
  row('loopne', 'E0: Jb', loop((o) => o.condition(5)), { stack64: true, modal: true, addressed: true }),
  row('loope', 'E1: Jb', loop((o) => o.condition(4)), { stack64: true, modal: true, addressed: true }),
  row('loop', 'E2: Jb', loop(() => undefined), { stack64: true, modal: true, addressed: true }),
  row('jcxz', 'E3: Jb', (o) => o.branchIf(o.isZero(o.and(o.readGpr(RCX, 64), o.addressMask()))), { stack64: true, modal: true, addressed: true }),
  row('callf', '9A: Ap', 'callFar', { no64: true, ends: true, sized: true }),
  row('jmpf', 'EA: Ap', 'jumpFar', { no64: true, ends: true, sized: true }),
  row('callf', 'FF /3 mem: Mp', 'callFarIndirect', { ends: true, sized: true }),
  row('jmpf', 'FF /5 mem: Mp', 'jumpFarIndirect', { ends: true, sized: true }),
  row('retf', ['CB:', 'CA: Iw'], 'returnFar', { ends: true, sized: true }),
  row('iret', 'CF:', interruptReturn, { ends: true, sized: true, routine: 'interruptReturn' }),
  row('int3', 'CC:', 'breakpoint', { ends: true }),
  row('int1', 'F1:', 'debugTrap', { ends: true }),
  row('int', 'CD: Ib', 'softwareInterrupt', { ends: true }),
  row('into', 'CE:', 'interruptOnOverflow', { no64: true }),
  row('bound', '62 /r mem: Gv M', 'bound', { no64: true }),
  row('ud2', ['0F 0B:', '0F B9 /r: Gv Ev', '0F FF /r: Gv Ev'], 'undefined', { ends: true }),
]; // prettier-ignore
