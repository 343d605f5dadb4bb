/** A publisher's secret keys: a file for each role, so that the root's can be kept elsewhere. */
import { VmError } from '../../base/errors.ts';
import { UNFINISHED, type Files } from '../../platform/files.ts';
import { generateKey, loadKey, type SigningKey } from '../trust/keys.ts';
import { ROLES, type Role } from '../trust/metadata.ts';
import type { RoleKeyring } from '../trust/signing.ts';

export class KeyDirectory {
  readonly #files: Files;
  readonly directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.directory = directory;
  }

  load(role: Role): Promise<SigningKey | undefined> {
    return this.#load(this.#path(role));
  }

  /** The keys of a repository that is there. The root's may be missing. */
  async ring(): Promise<RoleKeyring> {
    await this.#removeCopies();
    const found: Partial<Record<Role, SigningKey>> = {};
    for (const role of ROLES) {
      const key = await this.load(role);
      if (key) found[role] = key;
      else if (role !== 'root')
        throw new VmError('not-found', `${this.#path(role)}: the key of the role ${role} is missing: name the directory with --keys`);
    }
    return found as RoleKeyring;
  }

  /** The keys for a new repository: those that are there, and new ones. */
  async ringForNew(): Promise<RoleKeyring> {
    for (const role of ROLES) if (!(await this.load(role))) await this.#store(role, await generateKey());
    return this.ring();
  }

  /** A new key beside the old one, which stays valid until `replace`. */
  async prepare(role: Role): Promise<SigningKey> {
    const waiting = await this.#load(this.#nextPath(role));
    if (waiting) return waiting;
    const key = await generateKey();
    await this.#files.create(this.#nextPath(role), fileOf(key), true);
    return key;
  }

  /** Puts the prepared key in the old one's place. */
  async replace(role: Role): Promise<void> {
    await this.#files.rename(this.#nextPath(role), this.#path(role));
  }

  /** Finishes changes that were interrupted before `replace`, though the root names the prepared key already. Gives their roles. */
  async finishChanges(isNamed: (role: Role, id: string) => boolean): Promise<Role[]> {
    const finished: Role[] = [];
    for (const role of ROLES) {
      const next = await this.#load(this.#nextPath(role));
      if (!next || !isNamed(role, next.id)) continue;
      await this.replace(role);
      finished.push(role);
    }
    return finished;
  }

  /** Those that a process has left which was killed when it had made a key: where root.json is kept elsewhere, no copy must stay. */
  async #removeCopies(): Promise<void> {
    const names = await this.#files.list(this.directory);
    for (const name of names) {
      if (UNFINISHED.test(name) && names.includes(name.replace(UNFINISHED, ''))) await this.#files.remove(`${this.directory}/${name}`);
    }
  }

  async #load(path: string): Promise<SigningKey | undefined> {
    const data = await this.#files.read(path);
    if (!data) return undefined;
    try {
      const { public: publicHex, secret } = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>;
      return await loadKey(String(publicHex), String(secret));
    } catch (error) {
      throw new VmError('bad-image', `${path}: not a key that daybreak wrote`, error);
    }
  }

  async #store(role: Role, key: SigningKey): Promise<void> {
    await this.#files.create(this.#path(role), fileOf(key), true);
  }

  #path(role: Role): string {
    return `${this.directory}/${role}.json`;
  }

  #nextPath(role: Role): string {
    return `${this.directory}/${role}.next.json`;
  }
}

function fileOf(key: SigningKey): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify({ keytype: 'ed25519', public: key.publicKey.keyval.public, secret: key.secret })}\n`);
}
