/** Which mirror a Debian system is set up for. sources.list(5): one-line and deb822 formats. */
import { fieldOf } from './control.ts';

export const DEFAULT_MIRROR = 'https://deb.debian.org/debian';

/** Suites that only the main archive has: neither security nor backports nor somebody else's repository. */
const MAIN_SUITES = new Set('sid unstable testing stable oldstable experimental rc-buggy bullseye bookworm trixie forky duke'.split(' '));

/**
 * The first mirror of Debian's main archive in these files, given as [name, content]; undefined when there is none.
 * An archive is taken for Debian's by its suite and by a path that ends in `/debian`, as all official mirrors have.
 */
export function mirrorFromSources(files: readonly (readonly [string, string])[]): string | undefined {
  for (const [name, content] of files) {
    for (const { uri, suite } of name.endsWith('.sources') ? deb822(content) : oneLine(content)) {
      const mirror = uri.replace(/\/+$/, '');
      if (/^https?:\/\/.+\/debian$/.test(mirror) && MAIN_SUITES.has(suite)) return mirror;
    }
  }
  return undefined;
}

interface Source {
  readonly uri: string;
  readonly suite: string;
}

function* oneLine(content: string): Generator<Source> {
  for (const line of content.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)/.exec(line);
    if (match) yield { uri: match[1]!, suite: match[2]! };
  }
}

function* deb822(content: string): Generator<Source> {
  const plain = content.replace(/^#.*\n?/gm, '');
  for (const stanza of plain.split(/\n\s*\n/)) {
    const types = fieldOf(stanza.trimStart(), 'Types')?.split(/\s+/) ?? [];
    if (!types.includes('deb') || fieldOf(stanza.trimStart(), 'Enabled')?.toLowerCase() === 'no') continue;
    for (const uri of fieldOf(stanza.trimStart(), 'URIs')?.split(/\s+/) ?? []) {
      for (const suite of fieldOf(stanza.trimStart(), 'Suites')?.split(/\s+/) ?? []) yield { uri, suite };
    }
  }
}
