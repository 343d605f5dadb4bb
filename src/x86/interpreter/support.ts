/**
 * Functions of the interpreter's module that handlers share: leaving, jumping, addresses. All of them end in a tail
 * call or return the reason for leaving.
 */
import { FunctionBuilder, type Node } from '../wasm/ir.ts';
import type { FunctionRef, ModuleBuilder, Signature } from '../wasm/module.ts';
import type { Callees } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { VECTOR_RUNTIME } from './vector-runtime.ts';

export const HANDLER: Signature = { params: ['i32'], results: ['i32'] };
/** Of all that compiled code leaves by: V8 compiles something for each signature that a module imports, which takes longer than a region. */
export const LEAVE: Signature = { params: ['i32', 'i64'], results: ['i32'] };

/** What the runtime (AssemblyScript) provides to handlers; all take linear addresses as i64. */
export const RUNTIME: Readonly<Record<string, Signature>> = {
  slowRead: { params: ['i64', 'i32'], results: ['i32'] },
  slowWrite: { params: ['i64', 'i32'], results: ['i32'] },
  commit: { params: [], results: [] },
  effectiveAddress: { params: ['i32'], results: ['i64'] },
  linearAddress: { params: ['i32', 'i32'], results: ['i64'] },
  stackAddress: { params: ['i64', 'i32', 'i32'], results: ['i64'] },
  selectTlb: { params: [], results: [] },
  storeFlags: { params: ['i32', 'i64', 'i64'], results: [] },
  settleFlags: { params: [], results: [] },
  loadCr3: { params: ['i64'], results: [] },
  refind: { params: ['i64'], results: ['i32'] },
  noteJump: { params: ['i64', 'i32', 'i32'], results: [] },
  crossing: { params: ['i32'], results: ['i32'] },
  interruptReturn: { params: [], results: ['i32'] },
  deliverPageFault: { params: ['i64'], results: ['i32'] },
  timeStamp: { params: ['i32'], results: ['i64'] },
  legacyTarget: { params: ['i64', 'i32'], results: ['i64'] },
  addressMask: { params: ['i32'], results: ['i64'] },
  writeAddressSized: { params: ['i32', 'i32', 'i64'], results: [] },
  segmented: { params: ['i32', 'i64', 'i32'], results: ['i64'] },
  displacedAddress: { params: ['i32', 'i64', 'i32'], results: ['i64'] },
  bulkMovs: { params: ['i32', 'i32'], results: ['i32'] },
  bulkStos: { params: ['i32', 'i32'], results: ['i32'] },
  bulkLods: { params: ['i32', 'i32'], results: ['i32'] },
  bulkCmps: { params: ['i32', 'i32', 'i32'], results: ['i32'] },
  bulkScas: { params: ['i32', 'i32', 'i32'], results: ['i32'] },
  umulh: { params: ['i64', 'i64'], results: ['i64'] },
  smulh: { params: ['i64', 'i64'], results: ['i64'] },
  divideUnsigned128: { params: ['i64', 'i64', 'i64'], results: ['i32'] },
  divideSigned128: { params: ['i64', 'i64', 'i64'], results: ['i32'] },
  pdep64: { params: ['i64', 'i64'], results: ['i64'] },
  pext64: { params: ['i64', 'i64'], results: ['i64'] },
  ...VECTOR_RUNTIME,
  x87LoadF32: { params: ['i32'], results: [] },
  x87LoadF64: { params: ['i32'], results: [] },
  x87LoadF80: { params: ['i32'], results: [] },
  x87LoadBcd: { params: ['i32'], results: [] },
  x87LoadConstant: { params: ['i32'], results: [] },
  x87LoadRegister: { params: ['i32'], results: [] },
  x87StoreRegister: { params: ['i32', 'i32'], results: [] },
  x87StoreQuietly: { params: ['i32'], results: [] },
  x87Exchange: { params: ['i32'], results: [] },
  x87Move: { params: ['i32', 'i32'], results: [] },
  x87Arithmetic: { params: ['i32', 'i32', 'i32'], results: [] },
  x87Compare: { params: ['i32', 'i32', 'i32'], results: [] },
  x87ArithmeticF32: { params: ['i32', 'i32'], results: [] },
  x87ArithmeticF64: { params: ['i32', 'i32'], results: [] },
  x87ChangeSign: { params: [], results: [] },
  x87Absolute: { params: [], results: [] },
  x87Test: { params: [], results: [] },
  x87Examine: { params: [], results: [] },
  x87SquareRoot: { params: [], results: [] },
  x87RoundToInteger: { params: [], results: [] },
  x87Scale: { params: [], results: [] },
  x87Remainder: { params: ['i32'], results: [] },
  x87Function: { params: ['i32'], results: [] },
  x87FunctionOfTwo: { params: ['i32'], results: [] },
  x87FunctionOfOne: { params: ['i32'], results: [] },
  x87Rotate: { params: ['i32'], results: [] },
  x87Free: { params: ['i32', 'i32'], results: [] },
  x87Initialize: { params: [], results: [] },
  x87SetControl: { params: ['i32'], results: [] },
  x87StoreEnvironment: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  x87LoadEnvironment: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  x87LoadInteger: { params: ['i64'], results: [] },
  x87ArithmeticInteger: { params: ['i64', 'i32'], results: [] },
  x87Store: { params: ['i32', 'i32', 'i32'], results: ['i32'] },
  x87CompareFlags: { params: ['i32', 'i32', 'i32'], results: ['i32'] },
  x87Save: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  x87Restore: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  areaAligned: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  fxsave: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  fxrstor: { params: ['i64', 'i32', 'i32'], results: ['i32'] },
  xsave: { params: ['i64', 'i64', 'i32', 'i32'], results: ['i32'] },
  xrstor: { params: ['i64', 'i64', 'i32', 'i32'], results: ['i32'] },
};

/** A `rep` chunk or a jump may go on only with at least this many instructions of budget: a run is no longer. */
export const { RUN_LIMIT } = L;

/** Declares and defines the support functions; returns them by name. */
/** What functions that go from record to record are built of. */
export interface Ways {
  /** Record of a linear address where a jump has gone before, whose page it makes the current one. `otherwise` does not come back. */
  shortCut(b: FunctionBuilder, address: Node, otherwise: () => void): Node;
  /** Takes the way from `counted`, up to where records have been executed, to `target` off the budget; leaves when it is used up. */
  charge(b: FunctionBuilder, target: Node, counted: Node): void;
  /** Counts an arrival at a record that no compiled code begins at; leaves when it becomes hot. */
  warm(b: FunctionBuilder, target: Node): void;
  /** Number of the handler that interprets a record where compiled code begins. */
  interpreter(b: FunctionBuilder, record: Node): Node;
}

export function defineSupport(module: ModuleBuilder, runtime: Callees): { callees: Callees; ways: Ways } {
  const handlerType = module.type(HANDLER);
  const callees: Callees = { ...runtime };
  const define = (name: string, signature: Signature, body: (b: FunctionBuilder) => void): FunctionRef => {
    const ref = module.declare(signature, name);
    const b = new FunctionBuilder(signature);
    body(b);
    module.define(ref, b.finish());
    callees[name] = ref;
    return ref;
  };
  const zero = (b: FunctionBuilder): Node => b.i32(0);
  const store32 = (b: FunctionBuilder, address: number, value: Node): void => b.store('i32.store', zero(b), value, address);
  const store64 = (b: FunctionBuilder, address: number, value: Node): void => b.store('i64.store', zero(b), value, address);
  const load32 = (b: FunctionBuilder, address: number): Node => b.load('i32.load', zero(b), address);
  const pageBase = (b: FunctionBuilder): Node => b.load('i64.load', zero(b), L.PAGE_BASE);
  const dispatch = (b: FunctionBuilder, record: Node): void => b.returnCallIndirect(handlerType, [record], b.load('i32.load16_u', record));

  /** Leaves before the record's instruction has taken effect. */
  const exit = define('exit', { params: ['i32', 'i32'], results: ['i32'] }, (b) => {
    const [record, code] = b.params as [Node, Node];
    store64(b, L.NEXT, b.op('i64.add', pageBase(b), b.load('i64.load16_u', record, L.R_OFFSET)));
    store32(b, L.EXIT_RECORD, record);
    b.return(code);
  });

  /** Leaves after the record's instruction, to go on at `address`. */
  const exitTo = define('exitTo', { params: ['i32', 'i64', 'i32'], results: ['i32'] }, (b) => {
    const [record, address, code] = b.params as [Node, Node, Node];
    store64(b, L.NEXT, address);
    store32(b, L.EXIT_RECORD, b.op('i32.add', record, b.i32(L.RECORD_BYTES)));
    b.return(code);
  });

  define('raise', { params: ['i32', 'i32', 'i32'], results: ['i32'] }, (b) => {
    const [record, vector, error] = b.params as [Node, Node, Node];
    store32(b, L.FAULT_VECTOR, vector);
    store32(b, L.FAULT_ERROR, error);
    b.returnCall(exit, record, b.i32(L.EXIT_FAULT));
  });

  const slowly = define('lookUp', { params: ['i64', 'i32'], results: ['i32'] }, (b) => {
    const [address, shortCut] = b.params as [Node, Node];
    const record = b.variable('i32', b.i32(0));
    const index = b.op('i32.and', b.op('i32.wrap_i64', b.op('i64.shr_u', address, b.i64(8))), b.i32((L.TLB_ENTRIES - 1) << 4));
    const entry = b.op('i32.add', load32(b, L.TLB_CODE), index);
    const page = b.op('i64.and', address, b.i64(-4096));
    b.if(b.op('i64.eq', b.load('i64.load', entry), page), () => {
      store64(b, L.PAGE_BASE, page);
      const low = b.op('i32.wrap_i64', address);
      const part = b.op('i32.and', b.op('i32.shr_u', low, b.i32(6)), b.i32((L.CODE_PARTS - 1) << 2));
      const within = b.op('i32.and', b.op('i32.shl', low, b.i32(2)), b.i32(L.CODE_PART_BYTES - 4));
      b.set(record, b.load('i32.load', b.op('i32.add', b.load('i32.load', b.op('i32.add', b.load('i32.load', entry, 8), part)), within)));
    });
    b.if(b.op('i32.eqz', b.get(record)), () => b.set(record, b.call(callees['refind']!, address)));
    b.if(b.get(record), () => b.call(callees['noteJump']!, address, b.get(record), shortCut));
    b.return(b.get(record));
  });

  /** The entry of the table of jumps for an address, and whether it is that address's. */
  const jumpEntry = (b: FunctionBuilder, address: Node): { entry: Node; known: Node } => {
    const low = b.op('i32.wrap_i64', address);
    const hash = b.op('i32.and', b.op('i32.xor', low, b.op('i32.shr_u', low, b.i32(10))), b.i32(L.JUMP_ENTRIES - 1));
    const entry = b.op('i32.add', b.op('i32.shl', hash, b.i32(4)), b.i32(L.JUMPS));
    const same = b.op('i64.eq', b.load('i64.load', entry), address);
    return { entry, known: b.op('i32.and', same, b.op('i32.eq', b.load('i32.load', entry, 12), load32(b, L.TLB_CODE))) };
  };
  const enterPage = (b: FunctionBuilder, address: Node): void => store64(b, L.PAGE_BASE, b.op('i64.and', address, b.i64(-4096)));

  const shortCut = (b: FunctionBuilder, address: Node, otherwise: () => void): Node => {
    const { entry, known } = jumpEntry(b, address);
    b.if(b.op('i32.eqz', known), otherwise);
    enterPage(b, address);
    return b.load('i32.load', entry, 8);
  };

  /** Record of a linear address, or 0 when it is not decoded. Makes its page the current one. */
  const lookUp = (b: FunctionBuilder, address: Node): Node => {
    const { entry, known } = jumpEntry(b, address);
    const record = b.variable('i32', b.load('i32.load', entry, 8));
    b.if(
      known,
      () => enterPage(b, address),
      () => b.set(record, b.call(slowly, address, entry)),
    );
    return b.get(record);
  };

  const interpreter = (b: FunctionBuilder, record: Node): Node => b.op('i32.and', b.load('i32.load', record, L.R_NOTE), b.i32(0xffff));

  const warm = (b: FunctionBuilder, target: Node): void => {
    const hot = load32(b, L.HOT);
    b.if(hot, () => {
      const note = b.load('i32.load', target, L.R_NOTE);
      const period = load32(b, L.HEAT_PERIOD);
      // What was counted in an earlier period is forgotten.
      const count = b.variable('i32', b.op('i32.xor', note, period));
      const earlier = b.op('i32.and', b.op('i32.gt_u', b.get(count), b.i32(0xffff)), b.op('i32.ge_s', note, b.i32(0)));
      b.if(earlier, () => b.set(count, b.i32(0)));
      b.if(b.op('i32.lt_u', b.get(count), hot), () => {
        b.set(count, b.op('i32.add', b.get(count), b.i32(1)));
        b.store('i32.store', target, b.op('i32.or', period, b.get(count)), L.R_NOTE);
        b.if(b.op('i32.eq', b.get(count), hot), () => b.returnCall(exit, target, b.i32(L.EXIT_HOT)));
      });
    });
  };

  /** @param expire leaves */
  const charge = (
    b: FunctionBuilder,
    target: Node,
    counted: Node,
    expire = (): void => b.returnCall(exit, target, b.i32(L.EXIT_BUDGET)),
  ): void => {
    const deadline = b.op('i32.add', load32(b, L.DEADLINE), b.op('i32.sub', target, counted));
    store32(b, L.DEADLINE, deadline);
    b.if(b.op('i32.lt_s', b.op('i32.sub', deadline, target), b.i32(RUN_LIMIT * L.RECORD_BYTES)), expire);
  };

  /**
   * Goes to a record: `counted` is the address up to which records have been executed. The budget is kept as the
   * address where it would end in straight-line execution, so a jump only moves it.
   */
  const land = (b: FunctionBuilder, target: Node, counted: Node): void => {
    charge(b, target, counted);
    const handler = b.load('i32.load16_u', target);
    b.if(b.op('i32.lt_u', handler, b.i32(L.H_COMPILED)), () => warm(b, target));
    b.returnCallIndirect(handlerType, [target], handler);
  };
  const after = (b: FunctionBuilder, record: Node): Node => b.op('i32.add', record, b.i32(L.RECORD_BYTES));

  define('jumpTo', { params: ['i32', 'i64'], results: ['i32'] }, (b) => {
    const [record, address] = b.params as [Node, Node];
    const target = lookUp(b, address);
    b.if(b.op('i32.eqz', target), () => b.returnCall(exitTo, record, address, b.i32(L.EXIT_LOOKUP)));
    land(b, target, after(b, record));
  });

  /** Delivers the fault of a record's instruction that has been recorded. That counts as an instruction. */
  define('faulted', HANDLER, (b) => {
    const [record] = b.params as [Node];
    const address = b.op('i64.add', pageBase(b), b.load('i64.load16_u', record, L.R_OFFSET));
    b.if(b.op('i32.eqz', b.call(callees['deliverPageFault']!, address)), () => b.returnCall(exit, record, b.i32(L.EXIT_FAULT)));
    b.returnCall(callees['jumpTo']!, record, b.load('i64.load', zero(b), L.TRANSFER));
  });

  /** Has a record know its target, if that is in the same page. */
  const link = (b: FunctionBuilder, record: Node, target: Node, inPage: Node): void => {
    // A crossing instruction outlives what it would be linked to.
    const lasting = b.op('i32.ge_u', record, b.i32(L.ARENA));
    b.if(b.op('i32.and', inPage, lasting), () => b.store('i32.store', record, target, L.R_LINK));
  };

  /** A relative jump: by its link when its target is in this page and known, else by lookup. */
  define('jumpNear', HANDLER, (b) => {
    const [record] = b.params as [Node];
    const target = b.variable('i32', b.load('i32.load', record, L.R_LINK));
    b.if(b.op('i32.eqz', b.get(target)), () => {
      const distance = b.load('i64.load', record, L.R_IMM);
      const address = b.op('i64.add', pageBase(b), distance);
      b.set(target, lookUp(b, address));
      b.if(b.op('i32.eqz', b.get(target)), () => b.returnCall(exitTo, record, address, b.i32(L.EXIT_LOOKUP)));
      link(b, record, b.get(target), b.op('i64.lt_u', distance, b.i64(4096)));
    });
    land(b, b.get(target), after(b, record));
  });

  /**
   * The same instruction once more, by its handler's number: a repeated one that has overwritten itself goes on as it was decoded, as on
   * the hardware, and its record knows its handler no more. After an interrupt, or at the budget's end, it is what it has become.
   */
  define('again', { params: ['i32', 'i32'], results: ['i32'] }, (b) => {
    const [record, handler] = b.params as [Node, Node];
    charge(b, record, after(b, record));
    b.returnCallIndirect(handlerType, [record], handler);
  });

  // For compiled code: its flags may be on their way

  const settleFlags = (b: FunctionBuilder): void => void b.call(callees['settleFlags']!);
  const expired = define('expired', HANDLER, (b) => {
    settleFlags(b);
    b.returnCall(exit, b.params[0]!, b.i32(L.EXIT_BUDGET));
  });
  const arrive = define('arrive', HANDLER, (b) => {
    const [target] = b.params as [Node];
    settleFlags(b);
    warm(b, target);
    dispatch(b, target);
  });
  /** As `land`. The way to compiled code calls nothing, so that V8 has nothing to keep on the stack. */
  const landCompiled = (b: FunctionBuilder, target: Node, counted: Node): void => {
    charge(b, target, counted, () => b.returnCall(expired, target));
    const handler = b.load('i32.load16_u', target);
    b.if(b.op('i32.lt_u', handler, b.i32(L.H_COMPILED)), () => b.returnCall(arrive, target));
    b.returnCallIndirect(handlerType, [target], handler);
  };

  const leaveSlowly = define('leaveSlowly', LEAVE, (b) => {
    const [counted, address] = b.params as [Node, Node];
    const target = lookUp(b, address);
    b.if(b.op('i32.eqz', target), () => {
      settleFlags(b);
      store64(b, L.NEXT, address);
      store32(b, L.EXIT_RECORD, counted);
      b.return(b.i32(L.EXIT_LOOKUP));
    });
    landCompiled(b, target, counted);
  });
  module.exportFunction(
    'leaveTo',
    define('leaveTo', LEAVE, (b) => {
      const [counted, address] = b.params as [Node, Node];
      const target = shortCut(b, address, () => b.returnCall(leaveSlowly, counted, address));
      landCompiled(b, target, counted);
    }),
  );

  module.exportFunction(
    'leaveHere',
    define('leaveHere', LEAVE, (b) => {
      const [counted, target] = b.params as [Node, Node];
      landCompiled(b, b.get(b.variable('i32', b.op('i32.wrap_i64', target))), counted);
    }),
  );

  /** Dispatches to the handler that interprets a record, also where compiled code begins. */
  const interpret = define('interpret', HANDLER, (b) => {
    const [record] = b.params as [Node];
    settleFlags(b);
    const handler = b.variable('i32', b.load('i32.load16_u', record));
    b.if(b.op('i32.ge_u', b.get(handler), b.i32(L.H_COMPILED)), () => b.set(handler, interpreter(b, record)));
    b.returnCallIndirect(handlerType, [record], b.get(handler));
  });
  module.exportFunction(
    'leaveUnbegun',
    define('leaveUnbegun', LEAVE, (b) => b.returnCall(interpret, b.params[0]!)),
  );

  module.exportFunction(
    'leaveAt',
    define('leaveAt', LEAVE, (b) => {
      const at = b.params[0]!;
      const place = b.get(b.variable('i32', b.op('i32.wrap_i64', b.params[1]!)));
      // Records lie at multiples of their size: what is left over are instructions that have not been counted.
      const target = b.op('i32.and', place, b.i32(-L.RECORD_BYTES));
      const more = b.op('i32.shl', b.op('i32.and', place, b.i32(L.RECORD_BYTES - 1)), b.i32(Math.log2(L.RECORD_BYTES)));
      charge(b, target, b.op('i32.add', at, more), () => b.returnCall(expired, target));
      b.returnCall(interpret, target);
    }),
  );

  // Handlers with fixed numbers

  define('stale', HANDLER, (b) => b.returnCall(exit, b.params[0]!, b.i32(L.EXIT_LOOKUP)));
  define('stop', HANDLER, (b) => b.returnCall(exit, b.params[0]!, b.i32(L.EXIT_STOP)));
  // The record is no instruction, and not counted: the one at the border is.
  define('cross', HANDLER, (b) => {
    const [record] = b.params as [Node];
    const left = b.op('i32.sub', load32(b, L.DEADLINE), record);
    b.if(b.op('i32.lt_s', left, b.i32(RUN_LIMIT * L.RECORD_BYTES)), () => b.returnCall(exit, record, b.i32(L.EXIT_CROSS)));
    const target = b.call(callees['crossing']!, record);
    b.if(b.op('i32.eqz', target), () => b.returnCall(exit, record, b.i32(L.EXIT_CROSS)));
    store32(b, L.DEADLINE, b.op('i32.add', target, left));
    dispatch(b, target);
  });
  define('undefined', HANDLER, (b) => {
    b.returnCall(callees['raise']!, b.params[0]!, b.i32(6), b.i32(0));
  });
  define('tooLong', HANDLER, (b) => b.returnCall(callees['raise']!, b.params[0]!, b.i32(13), b.i32(0)));
  /** End of a run: goes on at its offset, which is decoded elsewhere. Not an instruction, not counted. */
  define('end', HANDLER, (b) => {
    const [record] = b.params as [Node];
    const address = b.op('i64.add', pageBase(b), b.load('i64.load16_u', record, L.R_OFFSET));
    const target = lookUp(b, address);
    b.if(b.op('i32.eqz', target), () => {
      store64(b, L.NEXT, address);
      store32(b, L.EXIT_RECORD, record);
      b.return(b.i32(L.EXIT_LOOKUP));
    });
    link(b, record, target, b.op('i32.lt_u', b.load('i32.load16_u', record, L.R_OFFSET), b.i32(4096)));
    land(b, target, record);
  });

  module.exportFunction(
    'enter',
    define('enter', HANDLER, (b) => {
      warm(b, b.params[0]!);
      dispatch(b, b.params[0]!);
    }),
  );
  // Records outside the arena have no heat.
  module.exportFunction(
    'enterCrossing',
    define('enterCrossing', HANDLER, (b) => dispatch(b, b.params[0]!)),
  );
  module.exportFunction(
    'find',
    define('find', { params: ['i64'], results: ['i32'] }, (b) => b.return(lookUp(b, b.params[0]!))),
  );
  return { callees, ways: { shortCut, charge, warm, interpreter } };
}
