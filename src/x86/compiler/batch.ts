/** A module of regions. */
import { HANDLER, LEAVE, RUNTIME } from '../interpreter/support.ts';
import type { Callees } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { ByteWriter } from '../wasm/bytes.ts';
import { ModuleBuilder, type FunctionRef, type Signature } from '../wasm/module.ts';
import { emitRegion, LEAVES } from './emit.ts';
import type { Region } from './region.ts';
import type { TraitTable } from './traits.ts';

/** What few regions call. V8 compiles something for each signature that a module imports: these are left out when nobody does. */
const SELDOM = ['storeFlags', 'selectTlb'];

/**
 * Exports the function of region n as `n`. It imports memory and functions only.
 * @param nameOf what a profiler shows for a region
 */
export function buildModule(
  regions: readonly Region[],
  traits: TraitTable,
  nameOf: (region: Region) => string,
): { bytes: Uint8Array<ArrayBuffer>; sizes: number[] } {
  const names = new Set<string>(LEAVES);
  for (const { blocks } of regions)
    for (const { steps } of blocks) for (const { variant } of steps) for (const name of traits.of(variant).callees) names.add(name);
  // Last, so that they can be left out without changing what the others are called by.
  const seldom = SELDOM.filter((name) => !names.has(name));
  const imports = [...names, ...seldom].map((name, index) => ({ name, index, signature: signatureOf(name) }));
  const callees: Callees = {};
  let most = names.size;
  for (const ref of imports) {
    const get = (): FunctionRef => {
      most = Math.max(most, ref.index + 1);
      return ref;
    };
    Object.defineProperty(callees, ref.name, { get });
  }
  const scratch = new ByteWriter(16384);
  const bodies = regions.map((region) => emitRegion(region, traits, callees, scratch));

  const module = new ModuleBuilder();
  module.importMemory('host', 'memory', L.RAM / 65536, true);
  for (const { name, signature } of imports.slice(0, most)) module.importFunction('engine', name, signature);
  regions.forEach((region, n) => {
    const ref = module.declare(HANDLER, `guest ${nameOf(region)}`);
    module.define(ref, bodies[n]!);
    module.exportFunction(String(n), ref);
  });
  return { bytes: module.build(), sizes: bodies.map(({ length }) => length) };
}

function signatureOf(name: string): Signature {
  return (LEAVES as readonly string[]).includes(name) ? LEAVE : RUNTIME[name]!;
}
