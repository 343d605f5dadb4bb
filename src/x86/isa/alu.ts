/** The eight two-operand arithmetic and logic families, and their one-operand relatives. SDM vol. 2. */
import { AF, CF, OF } from '../flags.ts';
import type { Ops } from '../ops.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

/** The encodings that ADD, OR, ADC, SBB, AND, SUB, XOR and CMP share. `access` is `+`, or empty for CMP. */
function family(mnemonic: string, number: number, semantics: Semantics, options: RowOptions = {}, access = '+'): Row {
  const op = (low: number): string => (number * 8 + low).toString(16).toUpperCase().padStart(2, '0');
  return row(
    mnemonic,
    [
      `${op(0)} /r: Eb${access} Gb`,
      `${op(1)} /r: Ev${access} Gv`,
      `${op(2)} /r: Gb${access} Eb`,
      `${op(3)} /r: Gv${access} Ev`,
      `${op(4)}: AL${access} Ib`,
      `${op(5)}: rAX${access} Iz`,
      `80 /${number}: Eb${access} Ib`,
      `81 /${number}: Ev${access} Iz`,
      `83 /${number}: Ev${access} Ib`,
    ],
    semantics,
    { lock: access === '+', ...options },
  );
}

function addWithCarry(o: Ops, a: ReturnType<Ops['get']>, b: ReturnType<Ops['get']>, carry: ReturnType<Ops['get']>): void {
  const sum = o.cut(o.add(o.add(a, b), carry));
  // Carry out of the top: majority of the operands' top bits and the inverted sum bit.
  const carries = o.or(o.and(a, b), o.and(o.or(a, b), o.not(sum)));
  o.set(0, sum);
  o.flagsAdd(a, b, sum, o.narrow(o.and(o.shr(carries, o.const(o.size - 1)), o.const(1))));
}

function logic(combine: (o: Ops, a: ReturnType<Ops['get']>, b: ReturnType<Ops['get']>) => ReturnType<Ops['get']>): Semantics {
  return (o) => {
    const result = combine(o, o.get(0), o.get(1));
    o.set(0, result);
    o.flagsLogic(result);
  };
}

/** INC and DEC keep CF. */
function step(direction: 1 | -1): Semantics {
  return (o) => {
    const a = o.get(0);
    const carry = o.narrow(o.carry());
    const one = o.const(1);
    const result = o.cut(direction === 1 ? o.add(a, one) : o.sub(a, one));
    o.set(0, result);
    o.flagsStep(direction, a, result, carry);
  };
}

export const ALU: readonly Row[] = [
  family('add', 0, (o) => {
    const a = o.get(0);
    const b = o.get(1);
    const sum = o.cut(o.add(a, b));
    o.set(0, sum);
    o.flagsAdd(a, b, sum);
  }),
  family('or', 1, logic((o, a, b) => o.or(a, b)), { undefinedFlags: AF }),
  family('adc', 2, (o) => addWithCarry(o, o.get(0), o.get(1), o.carry())),
  family('sbb', 3, (o) => {
    const a = o.get(0);
    const b = o.get(1);
    const difference = o.cut(o.sub(o.sub(a, b), o.carry()));
    const borrows = o.or(o.and(o.not(a), b), o.and(o.or(o.not(a), b), difference));
    o.set(0, difference);
    o.flagsSub(a, b, difference, o.narrow(o.and(o.shr(borrows, o.const(o.size - 1)), o.const(1))));
  }),
  family('and', 4, logic((o, a, b) => o.and(a, b)), { undefinedFlags: AF }),
  family('sub', 5, (o) => {
    const a = o.get(0);
    const b = o.get(1);
    const difference = o.cut(o.sub(a, b));
    o.set(0, difference);
    o.flagsSub(a, b, difference);
  }),
  family('xor', 6, logic((o, a, b) => o.xor(a, b)), { undefinedFlags: AF }),
  family('cmp', 7, (o) => {
    const a = o.get(0);
    const b = o.get(1);
    o.flagsSub(a, b, o.cut(o.sub(a, b)));
  }, {}, ''),
  row('test', ['84 /r: Eb Gb', '85 /r: Ev Gv', 'A8: AL Ib', 'A9: rAX Iz', 'F6 /0: Eb Ib', 'F6 /1: Eb Ib', 'F7 /0: Ev Iz', 'F7 /1: Ev Iz'],
    (o) => o.flagsLogic(o.and(o.get(0), o.get(1))), { undefinedFlags: AF }),
  row('inc', ['FE /0: Eb+', 'FF /0: Ev+'], step(1), { lock: true }),
  row('dec', ['FE /1: Eb+', 'FF /1: Ev+'], step(-1), { lock: true }),
  row('inc', '40 +r: Zv+', step(1), { no64: true }),
  row('dec', '48 +r: Zv+', step(-1), { no64: true }),
  row('not', ['F6 /2: Eb+', 'F7 /2: Ev+'], (o) => o.set(0, o.not(o.get(0))), { lock: true }),
  row('neg', ['F6 /3: Eb+', 'F7 /3: Ev+'], (o) => {
    const a = o.get(0);
    const zero = o.const(0);
    const result = o.cut(o.sub(zero, a));
    o.set(0, result);
    o.flagsSub(zero, a, result);
  }, { lock: true }),
  row('adcx', ['66 0F 38 F6 /r: Gy+ Ey'], (o) => carryChain(o, CF), { feature: 'adx' }),
  row('adox', ['F3 0F 38 F6 /r: Gy+ Ey'], (o) => carryChain(o, OF), { feature: 'adx' }),
  row('cmpxchg', ['0F B0 /r: Eb+ Gb', '0F B1 /r: Ev+ Gv'], (o) => {
    const bits = o.bits(0);
    const destination = o.get(0);
    const accumulator = o.readGpr(0, bits);
    const source = o.get(1);
    const equal = o.eq(accumulator, destination);
    // Memory is written either way; a register destination only when equal (its upper half stays else), RAX only when not.
    if (o.isMemory(0)) {
      o.set(0, o.select(source, destination, equal));
      o.if(o.isFalse(equal), () => o.writeGpr(0, bits, destination));
    } else {
      o.if(
        equal,
        () => o.set(0, source),
        () => o.writeGpr(0, bits, destination),
      );
    }
    o.flagsSub(accumulator, destination, o.cut(o.sub(accumulator, destination), bits), undefined, bits);
  }, { lock: true }),
  row('xadd', ['0F C0 /r: Eb+ Gb+', '0F C1 /r: Ev+ Gv+'], (o) => {
    const bits = o.bits(0);
    const a = o.get(0);
    const b = o.get(1);
    const sum = o.cut(o.add(a, b), bits);
    if (o.isMemory(0)) {
      o.set(0, sum);
      o.set(1, a);
    } else {
      o.set(1, a);
      o.set(0, sum);
    }
    o.flagsAdd(a, b, sum, undefined, bits);
  }, { lock: true }),
]; // prettier-ignore

/** ADCX and ADOX: add with one flag as the carry, changing no other. */
function carryChain(o: Ops, flag: number): void {
  const bits = o.bits(0);
  const a = o.get(0);
  const b = o.get(1);
  const shift = flag === CF ? 0 : 11;
  const carry = o.and(o.shr(o.wide(o.flagAux()), o.const(shift)), o.const(1));
  const sum = o.cut(o.add(o.add(a, b), carry), bits);
  const carries = o.or(o.and(a, b), o.and(o.or(a, b), o.not(sum)));
  const out = o.and(o.shr(carries, o.const(bits - 1)), o.const(1));
  o.set(0, sum);
  o.changeFlags(flag, o.narrow(o.shl(out, o.const(shift))));
}
