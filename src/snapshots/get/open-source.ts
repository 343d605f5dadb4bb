/** From where a person says that something is published to what reads it. */
import { VmError } from '../../base/errors.ts';
import type { Files } from '../../platform/files.ts';
import { DirectoryStorage } from '../publish/storage.ts';
import type { RegistryHost } from '../registry/authorization.ts';
import { isRegistryPlace } from '../registry/reference.ts';
import { OciSource } from './oci-source.ts';
import { HttpSource, StorageSource, type Source } from './source.ts';

export interface SourceHost extends RegistryHost {
  readonly files: Files;
  readonly silenceMs?: number;
  readonly signal?: AbortSignal;
}

/** An address, a registry's repository or a directory, as a person names it. Throws VmError `usage`. */
export function openSource(host: SourceHost, place: string): Source {
  if (isRegistryPlace(place)) return new OciSource(host, place);
  if (/^https?:\/\//.test(place)) return new HttpSource(host, place.replace(/\/+$/, ''));
  if (/^[a-z][a-z0-9+.-]+:/i.test(place))
    throw new VmError('usage', `${place}: expected an address (https://…), oci://HOST/REPOSITORY or a directory`);
  return new StorageSource(new DirectoryStorage(host.files, place));
}
