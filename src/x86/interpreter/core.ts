/**
 * The function that interprets what is common (common.ts): a loop around a table of cases. From one of them to the next it is a jump,
 * where handlers that call each other look the callee and its signature up, leave their frame and make another. What is not common
 * is left to its handler, which comes back through the table.
 */
import { assert } from '../../base/errors.ts';
import type { Semantics } from '../isa/row.ts';
import type { Callees, Variant } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { FunctionBuilder, type Label, type Node } from '../wasm/ir.ts';
import { HandlerOps } from './handler-ops.ts';
import { HANDLER, type Ways } from './support.ts';

/** Of R_SEGMENT: FS and GS have bases. */
const HAS_BASE = 4;
/** Of R_FLAGS, behind R_SEGMENT: the address is not just base, index and displacement. */
const UNUSUAL = (L.REC_ADDRESS_32 | L.REC_ADDRESS_16 | L.REC_ABSOLUTE | L.REC_FAR_DISPLACEMENT) << 8;

/** How a case ends. */
interface Endings {
  next(): void;
  jumpNear(): void;
  jumpTo(linear: Node): void;
}

class CaseOps extends HandlerOps {
  readonly #endings: Endings;

  constructor(b: FunctionBuilder, variant: Variant, callees: Callees, handlerType: number, number: number, endings: Endings) {
    super(b, variant, callees, handlerType, number);
    this.#endings = endings;
  }

  override effectiveAddress(): Node {
    return this.#indexed(UNUSUAL, () => super.effectiveAddress());
  }

  override linearAddress(bytes: number): Node {
    return this.#indexed(UNUSUAL | HAS_BASE, () => super.linearAddress(bytes));
  }

  /** The usual address in place; `otherwise` when the record has any of the bits from R_SEGMENT on. */
  #indexed(unusual: number, otherwise: () => Node): Node {
    if (this.variant.memory !== 'general') return otherwise();
    const { b, record } = this;
    const address = b.variable('i64');
    b.if(
      b.op('i32.and', b.load('i32.load16_u', record, L.R_SEGMENT), b.i32(unusual)),
      () => b.set(address, otherwise()),
      () => {
        const base = b.load('i64.load', b.load('i32.load16_u', record, L.R_RM));
        const index = b.load('i64.load', b.load('i32.load16_u', record, L.R_INDEX));
        const scaled = this.shl(index, b.load('i64.load8_u', record, L.R_SCALE));
        b.set(address, this.add(this.add(base, scaled), b.load('i64.load32_s', record, L.R_DISP)));
      },
    );
    return b.get(address);
  }

  override next(): void {
    this.#endings.next();
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
 * @param common they have the handler numbers from H_FIRST on
 */
export function buildCore(common: readonly Variant[], callees: Callees, handlerType: number, ways: Ways): Uint8Array {
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
          const endings: Endings = {
            next() {
              go(after());
              b.br(dispatch);
            },
            jumpNear: () => b.br(near),
            jumpTo(linear) {
              b.set(address, linear);
              b.br(lookUp);
            },
          };
          const end = (): void => {
            b.set(target, b.load('i32.load', record, L.R_LINK));
            b.if(b.op('i32.eqz', b.get(target)), () => b.returnCall(callees['end']!, record));
            // An end is no instruction, and not counted.
            b.set(place, b.op('i32.sub', record, b.i32(L.RECORD_BYTES)));
            b.br(land);
          };
          const interpreted = common.map((variant, n): [number, () => void] => {
            const number = L.H_FIRST + n;
            return [
              number,
              () => {
                const { semantics, unit } = variant.encoding.row;
                assert(typeof semantics === 'function' && !unit, 'a common instruction is always there');
                const o = new CaseOps(b, variant, callees, handlerType, number, endings);
                (semantics as Semantics)(o);
                o.next();
              },
            ];
          });
          buildCases(b, b.get(handler), [[L.H_END, end], ...interpreted], leave);
        });
        b.set(target, b.load('i32.load', record, L.R_LINK));
        b.brIf(land, b.get(target));
        const distance = b.load('i64.load', record, L.R_IMM);
        // In this page it is going to be linked.
        b.if(b.op('i64.lt_u', distance, b.i64(4096)), () => b.returnCall(callees['jumpNear']!, record));
        b.set(address, b.op('i64.add', b.load('i64.load', b.i32(0), L.PAGE_BASE), distance));
      });
      b.set(target, ways.lookUp(b, b.get(address)));
      b.if(b.op('i32.eqz', b.get(target)), () => b.returnCall(callees['exitTo']!, record, b.get(address), b.i32(L.EXIT_LOOKUP)));
    });
    ways.charge(b, b.get(target), after());
    go(b.get(target));
    b.if(b.op('i32.lt_u', b.get(handler), b.i32(L.H_COMPILED)), () => {
      ways.warm(b, record);
      b.br(dispatch);
    });
    leave();
  });
  return b.finish();
}

/** A table of cases by number, in ascending order. Each ends by going elsewhere. */
function buildCases(b: FunctionBuilder, number: Node, cases: readonly (readonly [number, () => void])[], otherwise: () => void): void {
  const labels: Label[] = [];
  const nest = (n: number): void => {
    const next = cases[n];
    if (next) {
      b.block((label) => {
        labels.push(label);
        nest(n + 1);
      });
      return b.borrowing(next[1]);
    }
    const [first] = cases[0]!;
    b.block((other) => {
      const table = Array.from<Label>({ length: cases.at(-1)![0] - first + 1 }).fill(other);
      cases.forEach(([at], i) => (table[at - first] = labels[i]!));
      b.brTable([...table, other], b.op('i32.sub', number, b.i32(first)));
    });
    otherwise();
  };
  nest(0);
}
