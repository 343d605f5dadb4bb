/**
 * The function that interprets what is common (common.ts): a loop around a table of cases. From one of them to the next it is a jump,
 * where handlers that call each other look the callee and its signature up, leave their frame and make another. What is not common
 * is left to its handler, which comes back through the table.
 *
 * It calls nothing: around a call V8 would keep what it has in registers on the stack, and have it merge with what it knows on the usual
 * way. So an instruction whose operand is not in the TLB, or whose address is unusual, is left to a handler of its own, too.
 */
import { assert } from '../../base/errors.ts';
import type { Semantics } from '../isa/row.ts';
import { CF, INVERTED } from '../flags.ts';
import type { Callees, Variant } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { FunctionBuilder, type Label, type Node, type Variable } from '../wasm/ir.ts';
import { HandlerOps } from './handler-ops.ts';
import { HANDLER, type Ways } from './support.ts';
import type { Variants } from './variants.ts';

/** Of R_SEGMENT: FS and GS have bases. */
const HAS_BASE = 4;
/** Of R_FLAGS, behind R_SEGMENT: the address is not just base, index and displacement. */
const UNUSUAL = (L.REC_ADDRESS_32 | L.REC_ADDRESS_16 | L.REC_ABSOLUTE | L.REC_FAR_DISPLACEMENT) << 8;

/** How a case ends. */
interface Endings {
  /** Before the instruction has taken effect: to the handler that is its own, whatever it is. */
  alone(): void;
  /** After as many instructions as the case is. */
  next(instructions?: number): void;
  jumpNear(): void;
  jumpTo(linear: Node): void;
}

class CaseOps extends HandlerOps {
  readonly #endings: Endings;
  #relation: Node | undefined;

  constructor(b: FunctionBuilder, variant: Variant, callees: Callees, handlerType: number, number: number, endings: Endings) {
    super(b, variant, callees, handlerType, number);
    this.#endings = endings;
  }

  override effectiveAddress(): Node {
    return this.variant.memory === 'general' ? this.#indexed(UNUSUAL) : super.effectiveAddress();
  }

  override linearAddress(bytes: number): Node {
    if (this.variant.memory !== 'general') return super.linearAddress(bytes);
    const { b, record } = this;
    const offset = this.#indexed(UNUSUAL);
    const address = b.variable('i64', offset);
    b.if(b.op('i32.and', b.load('i32.load8_u', record, L.R_SEGMENT), b.i32(HAS_BASE)), () => {
      // The offset must be canonical by itself, too.
      b.if(this.ne(this.sar(this.shl(offset, this.const(16)), this.const(16)), offset), () => this.#endings.alone());
      const base = b.load('i64.load', b.op('i32.shl', this.segmentNumber(), b.i32(3)), L.SEG_BASE);
      b.set(address, this.add(base, offset));
    });
    return b.get(address);
  }

  /** Base, index and displacement, where the record has none of the bits from R_SEGMENT on that say that there is more to it. */
  #indexed(unusual: number): Node {
    const { b, record } = this;
    b.if(b.op('i32.and', b.load('i32.load16_u', record, L.R_SEGMENT), b.i32(unusual)), () => this.#endings.alone());
    const base = b.load('i64.load', b.load('i32.load16_u', record, L.R_RM));
    const index = b.load('i64.load', b.load('i32.load16_u', record, L.R_INDEX));
    const scaled = this.shl(index, b.load('i64.load8_u', record, L.R_SCALE));
    return this.add(this.add(base, scaled), b.load('i64.load32_s', record, L.R_DISP));
  }

  override translate(va: Node, bytes: number, write: boolean): Variable {
    const { b } = this;
    const entry = this.tlbEntry(va, this.state32(write ? L.TLB_WRITE : L.TLB_READ));
    b.if(b.op('i64.ge_u', this.xor(b.load('i64.load', entry), va), this.const(4097 - bytes)), () => this.#endings.alone());
    return b.variable('i32', b.op('i32.add', b.load('i32.load', entry, 8), this.narrow(va)));
  }

  /** Nothing bounces here. */
  override commit(): void {}

  override next(): void {
    this.#endings.next();
  }

  /** For a conditional jump: which of EQUAL, BELOW, LESS and NEGATIVE hold, as i32. */
  relation(): Node {
    return this.#relation ?? this.#bits(this.isZero(this.flagResult()), this.flagAux(), this.flagResult());
  }

  #bits(equal: Node, aux: Node, result: Node): Node {
    const { b } = this;
    const bit = (n: number): Node => b.op('i32.and', b.op('i32.shr_u', aux, b.i32(n)), b.i32(1));
    const negative = b.op('i32.xor', this.less(result, this.const(0)), bit(7));
    return this.#relate(equal, b.op('i32.and', aux, b.i32(CF)), b.op('i32.xor', negative, bit(11)), negative);
  }

  #relate(...relations: readonly [equal: Node, below: Node, less: Node, negative: Node]): Node {
    const { b } = this;
    return relations.map((holds, n) => b.op('i32.shl', holds, b.i32(n))).reduce((x, y) => b.op('i32.or', x, y));
  }

  override setFlagState(result: Node, aux: Node): void {
    super.setFlagState(result, aux);
    this.#relation = this.#bits(this.isZero(result), aux, result);
  }

  override flagsSub(a: Node, b: Node, difference: Node, borrowOut?: Node, bits = this.size): void {
    super.flagsSub(a, b, difference, borrowOut, bits);
    if (borrowOut) return;
    const less = this.less(this.signed(a, bits), this.signed(b, bits));
    this.#relation = this.#relate(this.eq(a, b), this.below(a, b), less, this.less(this.signed(difference, bits), this.const(0)));
  }

  override flagsLogic(result: Node, bits = this.size): void {
    super.flagsLogic(result, bits);
    const negative = this.less(this.signed(result, bits), this.const(0));
    this.#relation = this.#relate(this.isZero(result), this.b.i32(0), negative, negative);
  }

  /** Goes to the target of the jump whose record is so far behind this one, or on. */
  branch(distance: number): void {
    const { b, record } = this;
    const condition = b.load('i32.load16_u', record, distance + L.R_CONDITION);
    const holds = b.op('i32.ne', b.op('i32.and', this.relation(), condition), b.i32(0));
    const taken = b.op('i32.xor', holds, b.op('i32.shr_u', condition, b.i32(Math.log2(INVERTED))));
    b.if(taken, () => {
      if (distance > 0) b.set(b.parameter(0), b.op('i32.add', record, b.i32(distance)));
      this.#endings.jumpNear();
    });
    // For the compiler: what follows has been executed.
    b.store('i32.store8', record, b.i32(1), distance + L.R_PASSED);
    this.#endings.next(distance / L.RECORD_BYTES + 1);
  }

  override jumpRelative(): void {
    this.#endings.jumpNear();
  }

  override jumpTo(linear: Node): void {
    this.#endings.jumpTo(linear);
  }
}

/**
 * The body of the handler that all common variants share.
 * @param alone number of the handler that is a variant's own
 */
export function buildCore(
  { all, pairs, common, jumps }: Variants,
  callees: Callees,
  handlerType: number,
  ways: Ways,
  alone: (variant: Variant) => number,
): Uint8Array {
  const b = new FunctionBuilder(HANDLER);
  const [record] = b.params as [Node];
  const place = b.parameter(0);
  const handler = b.variable('i32', b.load('i32.load16_u', record));
  const target = b.variable('i32');
  const address = b.variable('i64');
  const after = (): Node => b.op('i32.add', record, b.i32(L.RECORD_BYTES));
  const leave = (): void => b.returnCallIndirect(handlerType, [record], b.get(handler));

  // Where compiled code begins, this is only called to interpret the instruction all the same.
  b.if(b.op('i32.ge_u', b.get(handler), b.i32(L.H_COMPILED)), () => b.set(handler, ways.interpreter(b, record)));
  b.loop((dispatch) => {
    const go = (to: Node): void => {
      b.set(place, to);
      b.set(handler, b.load('i32.load16_u', record));
    };
    b.block((land) => {
      b.block((lookUp) => {
        b.block((near) => {
          const endingsOf = (variant: Variant): Endings => ({
            alone: () => b.returnCallIndirect(handlerType, [record], b.i32(alone(variant))),
            next(instructions = 1) {
              go(b.op('i32.add', record, b.i32(instructions * L.RECORD_BYTES)));
              b.br(dispatch);
            },
            jumpNear: () => b.br(near),
            jumpTo(linear) {
              b.set(address, linear);
              b.br(lookUp);
            },
          });
          const end = (): void => {
            b.set(target, b.load('i32.load', record, L.R_LINK));
            b.if(b.op('i32.eqz', b.get(target)), () => b.returnCall(callees['end']!, record));
            // An end is no instruction, and not counted.
            b.set(place, b.op('i32.sub', record, b.i32(L.RECORD_BYTES)));
            b.br(land);
          };
          const opsOf = (n: number): CaseOps => new CaseOps(b, all[n]!, callees, handlerType, L.H_FIRST + n, endingsOf(all[n]!));
          const interpreted = Array.from({ length: common - jumps }, (_, n) => (): void => {
            const { semantics, unit } = all[n]!.encoding.row;
            assert(typeof semantics === 'function' && !unit, 'a common instruction is always there');
            const o = opsOf(n);
            (semantics as Semantics)(o);
            if (n < pairs) o.branch(L.RECORD_BYTES);
            else o.next();
          });
          const jump = (): void => opsOf(common - jumps).branch(0);
          const nothing = Array.from<undefined>({ length: L.H_FIRST - L.H_END - 1 }).fill(undefined);
          const cases = [end, ...nothing, ...interpreted, ...Array.from<() => void>({ length: jumps }).fill(jump)];
          buildCases(b, b.op('i32.sub', b.get(handler), b.i32(L.H_END)), cases, leave);
        });
        b.set(target, b.load('i32.load', record, L.R_LINK));
        b.brIf(land, b.get(target));
        const distance = b.load('i64.load', record, L.R_IMM);
        // In this page it is going to be linked.
        b.if(b.op('i64.lt_u', distance, b.i64(4096)), () => b.returnCall(callees['jumpNear']!, record));
        b.set(address, b.op('i64.add', b.load('i64.load', b.i32(0), L.PAGE_BASE), distance));
      });
      b.set(
        target,
        ways.shortCut(b, b.get(address), () => b.returnCall(callees['jumpTo']!, record, b.get(address))),
      );
    });
    ways.charge(b, b.get(target), after());
    go(b.get(target));
    b.if(b.op('i32.lt_u', b.get(handler), b.i32(L.H_COMPILED)), () => {
      ways.warm(b, record);
      b.br(dispatch);
    });
    leave();
  });
  assert(b.calls === 0, 'the core calls nothing');
  return b.finish();
}

/**
 * Cases by number, from 0 on; the same function for several numbers is built once. Each ends by going elsewhere.
 * @param otherwise for numbers that have none
 */
function buildCases(b: FunctionBuilder, number: Node, cases: readonly ((() => void) | undefined)[], otherwise: () => void): void {
  const labels = new Map<() => void, Label>();
  const [...builds] = new Set(cases.filter((build) => build !== undefined));
  const nest = (n: number): void => {
    const build = builds[n];
    if (build) {
      b.block((label) => {
        labels.set(build, label);
        nest(n + 1);
      });
      return b.borrowing(build);
    }
    b.block((other) => {
      const table = cases.map((each) => (each ? labels.get(each)! : other));
      b.brTable([...table, other], number);
    });
    otherwise();
  };
  nest(0);
}
