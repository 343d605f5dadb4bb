/** A suite's package index: a Packages file. https://wiki.debian.org/DebianRepository/Format */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { fieldOf, parseDependencies, type Dependency } from './control.ts';
import { compareVersions } from './version.ts';

/** What decides whether a package goes with others. */
export interface Candidate {
  readonly name: string;
  readonly version: string;
  /** Virtual packages, each with its version when it has one. */
  readonly provides: readonly Dependency[];
  /** Conflicts and Breaks: each names one package that may not be there. */
  readonly conflicts: readonly Dependency[];
}

/** Where a package is to be had, and what it must be. */
export interface PackageFile {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Path of the .deb from the archive's root. */
  readonly filename: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface DebianPackage extends Candidate, PackageFile {
  readonly priority: string;
  readonly essential: boolean;
  /** Depends and Pre-Depends. */
  readonly depends: readonly Dependency[];
}

export class PackageIndex {
  /** Stanzas by package name, as text: few of them are ever read. */
  readonly #stanzas = new Map<string, string[]>();
  readonly #providing: string[] = [];
  readonly #essential: string[] = [];
  readonly #name: string;
  #providers: Map<string, DebianPackage[]> | undefined;

  private constructor(name: string) {
    this.#name = name;
  }

  /** Reads an index as it comes. `name` is for messages. Throws `bad-image` when it is no package index. */
  static async read(name: string, pieces: AsyncIterable<Uint8Array>): Promise<PackageIndex> {
    const index = new PackageIndex(name);
    const decoder = new TextDecoder();
    let rest = '';
    for await (const piece of pieces) {
      const text = rest + decoder.decode(piece, { stream: true });
      let at = 0;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n', at)) {
        index.#take(text.slice(at, end));
        at = end + 2;
      }
      rest = text.slice(at);
      if (rest.length > 4 << 20) throw new VmError('bad-image', `${name}: a stanza of more than 4 MiB`);
    }
    index.#take(rest.trimEnd());
    return index;
  }

  /** All packages of several suites of one archive; of one name, the newest version comes first, whatever its suite. */
  static merge(indexes: readonly PackageIndex[]): PackageIndex {
    const merged = new PackageIndex(indexes.map((index) => index.#name).join(', '));
    for (const index of indexes) {
      for (const [name, stanzas] of index.#stanzas) {
        // One version is often in several suites.
        const known = merged.#stanzas.get(name) ?? [];
        const versions = new Set(known.map((stanza) => fieldOf(stanza, 'Version')));
        merged.#stanzas.set(name, [...known, ...stanzas.filter((stanza) => !versions.has(fieldOf(stanza, 'Version')))]);
      }
      merged.#providing.push(...index.#providing);
      merged.#essential.push(...index.#essential);
    }
    return merged;
  }

  get size(): number {
    return this.#stanzas.size;
  }

  /** The newest version of a real package. */
  get(name: string): DebianPackage | undefined {
    return this.all(name)[0];
  }

  /** All versions of a real package, newest first. */
  all(name: string): DebianPackage[] {
    const stanzas = this.#stanzas.get(name) ?? [];
    return stanzas.map((stanza) => this.#parse(stanza)).sort((a, b) => compareVersions(b.version, a.version));
  }

  essential(): DebianPackage[] {
    return [...new Set(this.#essential)].sort().map((name) => this.get(name)!);
  }

  /** Names of packages without which dpkg's users expect no system: Policy 2.5. */
  required(): string[] {
    return [...this.#stanzas]
      .filter(([, stanzas]) => stanzas.some((stanza) => stanza.includes('\nPriority: required')))
      .map(([name]) => name)
      .sort();
  }

  /** Packages that provide a virtual one, by name. */
  providers(virtual: string): readonly DebianPackage[] {
    if (!this.#providers) {
      this.#providers = new Map();
      for (const stanza of this.#providing) {
        const provider = this.#parse(stanza);
        for (const [provided] of provider.provides) {
          const list = this.#providers.get(provided!.name);
          if (list) list.push(provider);
          else this.#providers.set(provided!.name, [provider]);
        }
      }
      for (const list of this.#providers.values()) list.sort((a, b) => (a.name < b.name ? -1 : 1));
    }
    return this.#providers.get(virtual) ?? [];
  }

  #take(stanza: string): void {
    if (stanza.trim() === '') return;
    const name = fieldOf(stanza, 'Package');
    if (name === undefined) throw new VmError('bad-image', `${this.#name}: not a package index: a stanza has no Package field`);
    const list = this.#stanzas.get(name);
    if (list) list.push(stanza);
    else this.#stanzas.set(name, [stanza]);
    if (stanza.includes('\nProvides:')) this.#providing.push(stanza);
    if (stanza.includes('\nEssential: yes')) this.#essential.push(name);
  }

  #parse(stanza: string): DebianPackage {
    const name = fieldOf(stanza, 'Package')!;
    const need = (field: string): string => {
      const value = fieldOf(stanza, field);
      if (value === undefined) throw new VmError('bad-image', `${this.#name}: the package ${name} has no ${field}`);
      return value;
    };
    const filename = need('Filename');
    const sizeBytes = Number(need('Size'));
    const digest = need('SHA256').toLowerCase();
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw new VmError('bad-image', `${this.#name}: ${name}: bad Size`);
    if (!isSha256(digest)) throw new VmError('bad-image', `${this.#name}: ${name}: bad SHA256`);
    if (filename.startsWith('/') || filename.includes('..'))
      throw new VmError('bad-image', `${this.#name}: ${name}: refusing Filename ${filename}`);
    return {
      name,
      version: need('Version'),
      architecture: need('Architecture'),
      priority: fieldOf(stanza, 'Priority') ?? 'optional',
      essential: fieldOf(stanza, 'Essential') === 'yes',
      depends: [...parseDependencies(fieldOf(stanza, 'Pre-Depends')), ...parseDependencies(fieldOf(stanza, 'Depends'))],
      ...goesWith(stanza),
      filename,
      sizeBytes,
      sha256: digest,
    };
  }
}

function goesWith(stanza: string): Pick<Candidate, 'provides' | 'conflicts'> {
  return {
    provides: parseDependencies(fieldOf(stanza, 'Provides')),
    conflicts: [...parseDependencies(fieldOf(stanza, 'Conflicts')), ...parseDependencies(fieldOf(stanza, 'Breaks'))],
  };
}

/** What dpkg's database (`var/lib/dpkg/status`) says is there. `name` is for messages. */
export function readInstalled(name: string, status: string): Candidate[] {
  const found: Candidate[] = [];
  for (const stanza of status.split(/\n{2,}/)) {
    if (stanza.trim() === '') continue;
    const [packageName, version] = [fieldOf(stanza, 'Package'), fieldOf(stanza, 'Version')];
    if (packageName === undefined) throw new VmError('bad-image', `${name}: a stanza has no Package field`);
    if (version === undefined || !/ (installed|unpacked)$/.test(fieldOf(stanza, 'Status') ?? '')) continue;
    found.push({ name: packageName, version, ...goesWith(stanza) });
  }
  return found;
}
