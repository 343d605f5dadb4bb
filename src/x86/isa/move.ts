/** Data movement between registers, memory and the stack. SDM vol. 2. */
import { CONDITIONS } from '../flags.ts';
import { RAX, RBP, RDX, RSP, type Ops } from '../ops.ts';
import { SS } from '../state.ts';
import { row, type Row, type Semantics } from './row.ts';

const move: Semantics = (o) => o.set(0, o.get(1));

const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');

/** CMOVcc reads its source, and in 64-bit mode clears the upper half of a 32-bit destination, whether or not it moves. */
function conditionalMove(code: number): Semantics {
  return (o) => {
    const source = o.get(1);
    o.set(0, o.select(source, o.get(0), o.condition(code)));
  };
}

/** Sign-extends the accumulator's lower half into the whole: CBW, CWDE, CDQE. */
function extendAccumulator(o: Ops): void {
  o.writeGpr(RAX, o.size, o.signed(o.readGpr(RAX, 64), o.size / 2));
}

export const MOVE: readonly Row[] = [
  row('mov', [
    '88 /r: Eb= Gb', '89 /r: Ev= Gv', '8A /r: Gb= Eb', '8B /r: Gv= Ev', 'C6 /0: Eb= Ib', 'C7 /0: Ev= Iz',
    'B0 +r: Zb= Ib', 'B8 +r: Zv= Iv', 'A0: AL= Ob', 'A1: rAX= Ov', 'A2: Ob= AL', 'A3: Ov= rAX',
  ], move),
  row('movzx', ['0F B6 /r: Gv= Eb', '0F B7 /r: Gv= Ew'], move),
  row('movsx', ['0F BE /r: Gv= Eb', '0F BF /r: Gv= Ew'], (o) => o.set(0, o.signed(o.get(1), o.bits(1)))),
  row('movsxd', '63 /r: Gv= Ed', (o) => o.set(0, o.signed(o.get(1), 32)), { only64: true }),
  row('lea', '8D /r mem: Gv= M', (o) => o.set(0, o.effectiveAddress())),
  row('xchg', ['86 /r: Eb+ Gb+', '87 /r: Ev+ Gv+'], (o) => {
    const a = o.get(0);
    const b = o.get(1);
    o.set(0, b);
    o.set(1, a);
  }, { lock: true }),
  // 90 is NOP unless REX.B makes it name R8: the decoder prefers the exact row.
  row('xchg', '90 +r: Zv+ rAX+', (o) => {
    const a = o.get(0);
    const b = o.get(1);
    o.set(0, b);
    o.set(1, a);
  }),
  ...CONDITIONS.map((name, code) => row(`cmov${name}`, `0F ${hex(0x40 + code)} /r: Gv+ Ev`, conditionalMove(code))),
  ...CONDITIONS.map((name, code) =>
    row(`set${name}`, `0F ${hex(0x90 + code)} /r: Eb=`, (o) => o.set(0, o.select(o.const(1), o.const(0), o.condition(code)))),
  ),
  row('bswap', '0F C8 +r: Zv+', (o) => {
    const value = o.get(0);
    o.set(0, o.size === 16 ? o.const(0) : reverseBytes(o, value, o.size));
  }),
  row('movbe', '0F 38 F0 /r mem: Gv= Mv', (o) => o.set(0, reverseBytes(o, o.get(1), o.size)), { feature: 'movbe' }),
  row('movbe', '0F 38 F1 /r mem: Mv= Gv', (o) => o.set(0, reverseBytes(o, o.get(1), o.size)), { feature: 'movbe' }),
  row('cbw', '98: rAX+', extendAccumulator),
  row('cwd', '99: rAX', (o) => o.writeGpr(RDX, o.size, o.sar(o.signed(o.readGpr(RAX, o.size)), o.const(63)))),
  row('xlat', 'D7:', (o) => {
    const offset = o.and(o.add(o.readGpr(3, 64), o.readGpr(RAX, 8)), o.addressMask());
    o.writeGpr(RAX, 8, o.readMemory(o.segmented(offset, 1), 8));
  }, { addressed: true }),

  row('push', ['50 +r: Zv', 'FF /6: Ev'], (o) => o.push(o.get(0), o.size), { stack64: true, modal: true }),
  row('push', ['68: Iz', '6A: Ib'], (o) => o.push(o.get(0), o.size), { stack64: true, modal: true }),
  row('pop', '58 +r: Zv=', (o) => o.set(0, o.pop(o.size)), { stack64: true, modal: true }),
  row('pop', '8F /0: Ev=', (o) => {
    const value = o.peek(o.size);
    const old = o.readGpr(RSP, 64);
    // An address based on RSP is formed after the increment; a fault must leave RSP as it was.
    o.setStackPointer(o.add(old, o.const(o.size / 8)));
    if (o.isMemory(0)) {
      const changed = o.readGpr(RSP, 64);
      o.linear(o.size / 8);
      o.writeGpr(RSP, 64, old);
      o.host(true, o.size / 8);
      o.writeGpr(RSP, 64, changed);
    }
    o.set(0, value);
  }, { stack64: true, modal: true }),
  row('leave', 'C9:', (o) => {
    if (o.long) {
      const frame = o.readGpr(RBP, 64);
      const value = o.readMemory(frame, o.size, SS);
      o.writeGpr(RSP, 64, o.add(frame, o.const(o.size / 8)));
      o.writeGpr(RBP, o.size, value);
      return;
    }
    const frame = o.readGpr(RBP, 64);
    const value = o.readMemory(o.b.call(o.callees['stackAddress']!, frame, o.b.i32(o.size / 8), o.b.i32(0)), o.size, SS);
    o.setStackPointer(o.add(frame, o.const(o.size / 8)));
    o.writeGpr(RBP, o.size, value);
  }, { stack64: true, modal: true }),
  row('enter', 'C8: Iw Ib', 'enter', { stack64: true }),
  row('pusha', '60:', 'pusha', { no64: true, sized: true }),
  row('popa', '61:', 'popa', { no64: true, sized: true }),
  row('nop', ['90:', '0F 1F /r: Ev', '0F 0D /r mem: Ev', '0F 18 /r: Ev', '0F 19 /r: Ev', '0F 1A /r: Ev', '0F 1B /r: Ev', '0F 1C /r: Ev', '0F 1D /r: Ev', '0F 1E /r: Ev'], () => {}),
  row('pause', 'F3 90:', () => {}),
  row('movnti', 'NP 0F C3 /r mem: My= Gy', move),
]; // prettier-ignore

/** Value with its low `bits / 8` bytes in reverse order. */
export function reverseBytes(o: Ops, value: ReturnType<Ops['get']>, bits: number): ReturnType<Ops['get']> {
  const pairs = o.or(
    o.shl(o.and(value, o.const(0x00ff00ff00ff00ffn)), o.const(8)),
    o.and(o.shr(value, o.const(8)), o.const(0x00ff00ff00ff00ffn)),
  );
  if (bits === 16) return o.cut(pairs, 16);
  const quads = o.or(
    o.shl(o.and(pairs, o.const(0x0000ffff0000ffffn)), o.const(16)),
    o.and(o.shr(pairs, o.const(16)), o.const(0x0000ffff0000ffffn)),
  );
  return bits === 32 ? o.cut(quads, 32) : o.b.op('i64.rotl', quads, o.const(32));
}
