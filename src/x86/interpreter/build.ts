/** Generates the interpreter's module: every handler, and the table that records index. */
import { UNIT_OFF } from '../faults.ts';
import type { Callees, Variant } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { FunctionBuilder } from '../wasm/ir.ts';
import { ModuleBuilder, type FunctionRef } from '../wasm/module.ts';
import { buildCore } from './core.ts';
import { HandlerOps } from './handler-ops.ts';
import { HANDLER, RUNTIME, defineSupport } from './support.ts';
import type { Variants } from './variants.ts';

const UNIT_BIT = { x87: 1, mmx: 2, sse: 4, avx: 8 } as const;

/** The same bytes for the same table of instructions, so that they can be made beforehand. */
export function buildInterpreter(variants: Variants): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory('host', 'memory', L.RAM / 65536, true);
  const runtime: Callees = {};
  for (const [name, signature] of Object.entries(RUNTIME)) runtime[name] = module.importFunction('runtime', name, signature);
  const { callees, ways } = defineSupport(module, runtime);
  const handlerType = module.type(HANDLER);
  const handlers: FunctionRef[] = [];
  const fixed: Record<number, string> = {
    [L.H_STALE]: 'stale',
    [L.H_END]: 'end',
    [L.H_STOP]: 'stop',
    [L.H_UNDEFINED]: 'undefined',
    [L.H_CROSS]: 'cross',
    [L.H_TOO_LONG]: 'tooLong',
  };
  for (let n = 0; n < L.H_FIRST; n++) handlers.push(callees[fixed[n] ?? 'undefined']!);
  // Rows that the system does share one handler: leave.
  const system = module.declare(HANDLER, 'system');
  const leave = new FunctionBuilder(HANDLER);
  leave.returnCall(callees['exit']!, leave.params[0]!, leave.i32(L.EXIT_SYSTEM));
  module.define(system, leave.finish());
  const core = module.declare(HANDLER, 'core');
  const alone: Variant[] = [];
  const numberOfAlone = (variant: Variant): number => {
    let n = alone.indexOf(variant);
    if (n < 0) n = alone.push(variant) - 1;
    return L.H_FIRST + variants.all.length + n;
  };
  module.define(core, buildCore(variants, callees, handlerType, ways, numberOfAlone));
  for (let n = 0; n < variants.common; n++) handlers.push(core);
  for (const variant of [...variants.all.slice(variants.common), ...alone]) {
    const { semantics, unit } = variant.encoding.row;
    if (typeof semantics === 'string') {
      handlers.push(system);
      continue;
    }
    const ref = module.declare(HANDLER, nameOf(variant));
    const b = new FunctionBuilder(HANDLER);
    const o = new HandlerOps(b, variant, callees, handlerType, handlers.length);
    if (unit) o.if(b.op('i32.and', o.state32(L.FPU_TRAP), b.i32(UNIT_BIT[unit])), () => o.fault(UNIT_OFF, o.const(UNIT_BIT[unit])));
    semantics(o);
    o.next();
    module.define(ref, b.finish());
    handlers.push(ref);
  }
  module.table(handlers);
  return module.build();
}

/** Such as `mov 8B 64 simple`. */
function nameOf({ encoding, operandSize, memory, rep, long }: Variant): string {
  const { row, text, sized } = encoding;
  const [pattern] = text.split(':');
  return [
    row.mnemonic,
    pattern,
    ...(sized ? [operandSize] : []),
    memory,
    ...(rep === 'none' ? [] : [rep]),
    ...(long ? [] : ['legacy']),
  ].join(' ');
}
