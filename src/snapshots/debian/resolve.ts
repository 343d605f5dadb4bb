/**
 * Which packages a set of wanted ones takes. Depends and Pre-Depends are followed, alternatives and virtual packages
 * chosen; Recommends are not taken. Conflicts do not matter to a tree that is unpacked once. The same index and
 * wishes give the same answer.
 */
import { VmError } from '../../base/errors.ts';
import type { Dependency, Requirement } from './control.ts';
import type { DebianPackage, PackageIndex } from './packages.ts';
import { versionFits } from './version.ts';

const PRIORITIES = ['required', 'important', 'standard', 'optional', 'extra'];

export interface Resolution {
  /** Sorted by name. */
  readonly packages: readonly DebianPackage[];
  /** Dependencies that nothing in the index satisfies, as sentences: unstable has such days. */
  readonly unmet: readonly string[];
}

/** Throws `not-found` when a wanted package itself is not in the index. */
export function resolve(index: PackageIndex, wanted: readonly string[]): Resolution {
  const chosen = new Map<string, DebianPackage>();
  const unmet: string[] = [];
  const queue: DebianPackage[] = [];
  const take = (found: DebianPackage) => {
    chosen.set(found.name, found);
    queue.push(found);
  };
  // All wanted ones first, so that they decide alternatives.
  for (const name of wanted) {
    const found = index.get(name);
    if (!found) throw new VmError('not-found', `the archive has no package ${name}: try another mirror or another day`);
    if (!chosen.has(name)) take(found);
  }
  for (let current = queue.shift(); current; current = queue.shift()) {
    for (const dependency of current.depends) {
      if (dependency.some((requirement) => isMet(requirement, chosen))) continue;
      const found = choose(dependency, index, chosen);
      if (found) take(found);
      else unmet.push(`${current.name} needs ${describe(dependency)}, which the archive does not have`);
    }
  }
  const packages = [...chosen.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { packages, unmet };
}

function isMet(requirement: Requirement, chosen: ReadonlyMap<string, DebianPackage>): boolean {
  const real = chosen.get(requirement.name);
  if (real && fits(real.version, requirement)) return true;
  return [...chosen.values()].some((candidate) => providesIt(candidate, requirement));
}

function fits(version: string, { relation, version: bound }: Requirement): boolean {
  return relation === undefined || versionFits(version, relation, bound!);
}

/** A versioned requirement is met by a versioned Provides only: Policy 7.5. */
function providesIt(candidate: DebianPackage, requirement: Requirement): boolean {
  return candidate.provides.some(([provided]) => {
    if (provided!.name !== requirement.name) return false;
    return requirement.relation === undefined || (provided!.version !== undefined && fits(provided!.version, requirement));
  });
}

/** The first alternative that can be had: a real package, else the best provider. One name is never taken in two versions. */
function choose(dependency: Dependency, index: PackageIndex, chosen: ReadonlyMap<string, DebianPackage>): DebianPackage | undefined {
  for (const requirement of dependency) {
    if (!chosen.has(requirement.name)) {
      const real = index.all(requirement.name).find((candidate) => fits(candidate.version, requirement));
      if (real) return real;
    }
    const providers = index.providers(requirement.name).filter((one) => !chosen.has(one.name) && providesIt(one, requirement));
    const rank = (one: DebianPackage) => (PRIORITIES.indexOf(one.priority) + PRIORITIES.length + 1) % (PRIORITIES.length + 1);
    const [best] = [...providers].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
    if (best) return best;
  }
  return undefined;
}

function describe(dependency: Dependency): string {
  return dependency.map(({ name, relation, version }) => (relation ? `${name} (${relation} ${version})` : name)).join(' or ');
}
