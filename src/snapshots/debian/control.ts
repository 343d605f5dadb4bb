/** Debian control files: stanzas of fields. deb822(5), Debian Policy 5.1 and 7.1. */
import type { Relation } from './version.ts';

/** The value of `field` in a stanza, continuation lines joined as they stand; undefined when there is none. */
export function fieldOf(stanza: string, field: string): string | undefined {
  const key = `${field}:`;
  let at = 0;
  if (!stanza.startsWith(key)) {
    at = stanza.indexOf(`\n${key}`) + 1;
    if (at === 0) return undefined;
  }
  let end = stanza.indexOf('\n', at);
  while (end >= 0 && (stanza[end + 1] === ' ' || stanza[end + 1] === '\t')) end = stanza.indexOf('\n', end + 1);
  return stanza.slice(at + key.length, end < 0 ? stanza.length : end).trim();
}

/** One package named by a dependency, with the versions that will do. */
export interface Requirement {
  readonly name: string;
  readonly relation?: Relation;
  readonly version?: string;
}

/** Alternatives: any one of them satisfies it. */
export type Dependency = readonly Requirement[];

const REQUIREMENT = /^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?$/;

/** `a (>= 1) | b, c` as lists; what cannot be read is left out and given to `bad`. */
export function parseDependencies(text: string | undefined, bad: (part: string) => void = () => {}): Dependency[] {
  const found: Dependency[] = [];
  for (const clause of (text ?? '').split(',')) {
    const alternatives: Requirement[] = [];
    for (const part of clause.split('|')) {
      const trimmed = part.trim();
      if (trimmed === '') continue;
      const match = REQUIREMENT.exec(trimmed);
      if (!match) {
        bad(trimmed);
        continue;
      }
      const [, name, relation, version] = match;
      // A lone < or > is the old spelling of <= and >=: Policy 7.1.
      const modern = relation === '<' || relation === '>' ? (`${relation}=` as const) : (relation as Relation | undefined);
      alternatives.push({ name: name!, ...(modern && version && { relation: modern, version }) });
    }
    if (alternatives.length > 0) found.push(alternatives);
  }
  return found;
}
