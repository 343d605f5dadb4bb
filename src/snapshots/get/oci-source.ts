/** Published files in a container registry, for readers: contents by digest and range, lists by tag. */
import { VmError } from '../../base/errors.ts';
import type { RegistryHost } from '../registry/authorization.ts';
import { digestInPath, tagOf } from '../registry/paths.ts';
import { parseRepository } from '../registry/reference.ts';
import { Registry } from '../registry/registry.ts';
import { tooLong, type Source } from './source.ts';

export class OciSource implements Source {
  readonly name: string;
  readonly #registry: Registry;

  /** Throws VmError `usage`. */
  constructor(host: RegistryHost, place: string) {
    this.#registry = new Registry(host, parseRepository(place), ['pull']);
    this.name = this.#registry.name;
  }

  async read(path: string, limitBytes: number): Promise<Uint8Array | undefined> {
    let digest = digestInPath(path);
    if (digest === undefined) {
      const file = (await this.#registry.files(tagOf(path)))?.files[0];
      if (!file) return undefined;
      if (file.sizeBytes > limitBytes) throw tooLong(`${this.name}/${path}`, limitBytes);
      digest = file.digest;
    }
    const data = await this.#registry.blob(digest, 0, undefined, limitBytes + 1);
    if (data && data.length > limitBytes) throw tooLong(`${this.name}/${path}`, limitBytes);
    return data;
  }

  async range(path: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const digest = digestInPath(path);
    const data = digest === undefined ? undefined : await this.#registry.blob(digest, offset, length, length, signal);
    if (data) return data;
    throw new VmError('not-found', `${this.name}/${path} is missing: try again later, or tell the publisher`);
  }
}
