/** A module of regions. */
import { HANDLER, RUNTIME } from '../interpreter/support.ts';
import type { Callees } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { ModuleBuilder, type FunctionRef, type Signature } from '../wasm/module.ts';
import { ALWAYS_CALLED, emitRegion } from './emit.ts';
import type { Region } from './region.ts';
import type { TraitTable } from './traits.ts';

/** Signatures of the interpreter's functions that regions call. */
const OWN: Readonly<Record<string, Signature>> = {
  leaveAt: { params: ['i32', 'i32'], results: ['i32'] },
  leaveHere: { params: ['i32', 'i32'], results: ['i32'] },
  leaveTo: { params: ['i32', 'i64'], results: ['i32'] },
  interpret: HANDLER,
};

/**
 * Exports the function of region n as `n`. It imports memory and functions only.
 * @param nameOf what a profiler shows for a region
 */
export function buildModule(
  regions: readonly Region[],
  traits: TraitTable,
  nameOf: (region: Region) => string,
): { bytes: Uint8Array<ArrayBuffer>; sizes: number[] } {
  const module = new ModuleBuilder();
  module.importMemory('host', 'memory', L.RAM / 65536, true);
  const callees: Callees = {};
  const names = new Set<string>(ALWAYS_CALLED);
  for (const { blocks } of regions)
    for (const { steps } of blocks) for (const { variant } of steps) for (const name of traits.of(variant).callees) names.add(name);
  for (const name of names) callees[name] = module.importFunction('engine', name, OWN[name] ?? RUNTIME[name]!);
  const refs: FunctionRef[] = regions.map((region) => module.declare(HANDLER, `guest ${nameOf(region)}`));
  const sizes = regions.map((region, n) => {
    const body = emitRegion(region, traits, callees);
    module.define(refs[n]!, body);
    module.exportFunction(String(n), refs[n]!);
    return body.length;
  });
  return { bytes: module.build(), sizes };
}
