/** A suite's package index: a Packages file. https://wiki.debian.org/DebianRepository/Format */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { fieldOf, parseDependencies, type Dependency } from './control.ts';
import { compareVersions } from './version.ts';

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly priority: string;
  readonly essential: boolean;
  /** Depends and Pre-Depends. */
  readonly depends: readonly Dependency[];
  /** Virtual packages, each with its version when it has one. */
  readonly provides: readonly Dependency[];
  /** Path of the .deb from the archive's root. */
  readonly filename: string;
  readonly sizeBytes: number;
  readonly sha256: string;
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
      provides: parseDependencies(fieldOf(stanza, 'Provides')),
      filename,
      sizeBytes,
      sha256: digest,
    };
  }
}
