/**
 * Which packages a set of wanted ones takes. Depends and Pre-Depends are followed, alternatives and virtual packages
 * chosen; Recommends are not taken. The newest version of a package is taken, or, where that leaves a dependency unmet that an
 * older one in the index would meet, that one. The same index and wishes give the same answer.
 */
import { VmError } from '../../base/errors.ts';
import type { Dependency, Requirement } from './control.ts';
import type { Candidate, DebianPackage, PackageIndex } from './packages.ts';
import { versionFits } from './version.ts';

const PRIORITIES = ['required', 'important', 'standard', 'optional', 'extra'];
/** Each attempt takes one version back; no archive has as many mixed ones. */
const MAX_ATTEMPTS = 200;

export interface Resolution {
  /** What is to be added, sorted by name. */
  readonly packages: readonly DebianPackage[];
  /** Dependencies that nothing in the index satisfies, and packages that exclude each other, as sentences: unstable has such days. */
  readonly unmet: readonly string[];
}

interface Unmet {
  readonly needing: DebianPackage;
  readonly dependency: Dependency;
}

type Chosen = Map<string, Candidate>;

/**
 * `present` is there already, stays as it is, and has what it needs. Throws `not-found` when a wanted package itself is not
 * in the index.
 */
export function resolve(index: PackageIndex, wanted: readonly string[], present: readonly Candidate[] = []): Resolution {
  const pins = new Map<string, string>();
  for (let attempt = 1; ; attempt++) {
    const { added, chosen, unmet } = attemptOf(new Versions(index, pins), wanted, present);
    if (unmet.length === 0 || attempt === MAX_ATTEMPTS || !pinOne(index, unmet, chosen, pins)) {
      const packages = [...added.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      const missing = unmet.map(
        ({ needing, dependency }) => `${needing.name} needs ${describe(dependency)}, which the archive does not have`,
      );
      return { packages, unmet: [...missing, ...conflictsAmong(chosen, added)] };
    }
  }
}

/** The index, as far as versions are not ruled out. */
class Versions {
  readonly index: PackageIndex;
  readonly #pins: ReadonlyMap<string, string>;

  constructor(index: PackageIndex, pins: ReadonlyMap<string, string>) {
    this.index = index;
    this.#pins = pins;
  }

  of(name: string): DebianPackage[] {
    const pin = this.#pins.get(name);
    const all = this.index.all(name);
    return pin === undefined ? all : all.filter(({ version }) => version === pin);
  }

  providers(name: string): DebianPackage[] {
    return this.index.providers(name).filter((one) => this.of(one.name)[0]?.version === one.version);
  }
}

function attemptOf(versions: Versions, wanted: readonly string[], present: readonly Candidate[]) {
  const chosen: Chosen = new Map(present.map((one) => [one.name, one]));
  const added = new Map<string, DebianPackage>();
  const unmet: Unmet[] = [];
  const queue: DebianPackage[] = [];
  const take = (found: DebianPackage) => {
    chosen.set(found.name, found);
    added.set(found.name, found);
    queue.push(found);
  };
  // All wanted ones first, so that they decide alternatives.
  for (const name of wanted) {
    if (chosen.has(name)) continue;
    const [found] = versions.of(name);
    if (!found) throw new VmError('not-found', `the archive has no package ${name}: try another mirror or another day`);
    take(found);
  }
  for (let current = queue.shift(); current; current = queue.shift()) {
    for (const dependency of current.depends) {
      if (dependency.some((requirement) => isMet(requirement, chosen))) continue;
      const found = choose(dependency, versions, chosen);
      if (found) take(found);
      else unmet.push({ needing: current, dependency });
    }
  }
  return { chosen, added, unmet };
}

/** Takes one version back that stands in a dependency's way; false when there is nothing that could help. */
function pinOne(index: PackageIndex, unmet: readonly Unmet[], chosen: Chosen, pins: Map<string, string>): boolean {
  for (const { needing, dependency } of unmet) {
    for (const requirement of dependency) {
      if (!chosen.has(requirement.name) || pins.has(requirement.name)) continue;
      const other = index.all(requirement.name).find((one) => fits(one.version, requirement));
      if (!other) continue;
      pins.set(other.name, other.version);
      return true;
    }
    const all = index.all(needing.name);
    const older = all[all.findIndex(({ version }) => version === needing.version) + 1];
    if (!older) continue;
    pins.set(older.name, older.version);
    return true;
  }
  return false;
}

function isMet(requirement: Requirement, chosen: Chosen): boolean {
  const real = chosen.get(requirement.name);
  if (real && fits(real.version, requirement)) return true;
  return [...chosen.values()].some((candidate) => providesIt(candidate, requirement));
}

function fits(version: string, { relation, version: bound }: Requirement): boolean {
  return relation === undefined || versionFits(version, relation, bound!);
}

/** A versioned requirement is met by a versioned Provides only: Policy 7.5. */
function providesIt(candidate: Candidate, requirement: Requirement): boolean {
  return candidate.provides.some(([provided]) => {
    if (provided!.name !== requirement.name) return false;
    return requirement.relation === undefined || (provided!.version !== undefined && fits(provided!.version, requirement));
  });
}

/**
 * The first alternative that can be had: a real package, else the best provider. One name is never taken in two versions, and
 * what excludes something chosen is taken only when there is nothing else.
 */
function choose(dependency: Dependency, versions: Versions, chosen: Chosen): DebianPackage | undefined {
  let last: DebianPackage | undefined;
  const rank = (one: DebianPackage) => (PRIORITIES.indexOf(one.priority) + PRIORITIES.length + 1) % (PRIORITIES.length + 1);
  for (const requirement of dependency) {
    const real = chosen.has(requirement.name) ? undefined : versions.of(requirement.name).find((one) => fits(one.version, requirement));
    const providers = versions.providers(requirement.name).filter((one) => !chosen.has(one.name) && providesIt(one, requirement));
    const all = [...(real ? [real] : []), ...providers.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1))];
    const found = all.find((one) => [...chosen.values()].every((other) => !excludes(one, other) && !excludes(other, one)));
    if (found) return found;
    last ??= all[0];
  }
  return last;
}

/** Conflicts and Breaks never mean the package itself; virtual packages count without a version, or with one of their own. */
function excludes(one: Candidate, other: Candidate): boolean {
  if (one.name === other.name) return false;
  return one.conflicts.some(([named]) => (named!.name === other.name && fits(other.version, named!)) || providesIt(other, named!));
}

function conflictsAmong(chosen: Chosen, added: ReadonlyMap<string, DebianPackage>): string[] {
  const found: string[] = [];
  for (const one of chosen.values()) {
    for (const named of one.conflicts.flat()) {
      for (const other of chosen.values()) {
        if (other.name !== named.name && !other.provides.some(([provided]) => provided!.name === named.name)) continue;
        if (!excludes(one, other) || (!added.has(one.name) && !added.has(other.name))) continue;
        found.push(`${one.name} ${one.version} cannot be together with ${other.name} ${other.version}`);
      }
    }
  }
  return [...new Set(found)].sort();
}

function describe(dependency: Dependency): string {
  return dependency.map(({ name, relation, version }) => (relation ? `${name} (${relation} ${version})` : name)).join(' or ');
}
