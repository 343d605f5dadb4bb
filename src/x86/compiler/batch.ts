/** A module of regions. */
import { HANDLER, LEAVE, RUNTIME } from '../interpreter/support.ts';
import * as L from '../runtime/layout.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import type { Region, Regions } from './region.ts';

/** Functions of the interpreter that every region may call, numbered as in runtime/compile/callees.ts. */
const LEAVES = ['leaveAt', 'leaveTo', 'leaveHere', 'leaveUnbegun'];

export interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Regions whose functions are in it: n is exported as `n`. */
  readonly built: readonly Region[];
  /** Their sizes in bytes. */
  readonly sizes: readonly number[];
  /** Regions that there was no room for. */
  readonly refused: readonly Region[];
}

/**
 * Builds a module, which imports memory and functions only.
 * @param nameOf what a profiler shows for a region
 */
export function buildModule(waiting: readonly Region[], regions: Regions, nameOf: (region: Region) => string): Batch {
  const built: Region[] = [];
  const bodies: Uint8Array[] = [];
  const refused: Region[] = [];
  regions.beginModule();
  for (const region of waiting) {
    const body = regions.build(region);
    if (body) {
      built.push(region);
      bodies.push(body);
    } else refused.push(region);
  }
  const module = new ModuleBuilder();
  module.importMemory('host', 'memory', L.RAM / 65536, true);
  for (const name of LEAVES) module.importFunction('engine', name, LEAVE);
  for (const name of regions.called) module.importFunction('engine', name, RUNTIME[name]!);
  built.forEach((region, n) => {
    const ref = module.declare(HANDLER, `guest ${nameOf(region)}`);
    module.define(ref, bodies[n]!);
    module.exportFunction(String(n), ref);
  });
  return { bytes: module.build(), built, sizes: bodies.map(({ length }) => length), refused };
}
