/** Where `publish` and `verify` put and find what is published. */
import { VmError } from '../base/errors.ts';
import { DirectoryStorage, type Storage } from '../snapshots/publish/storage.ts';
import type { Host } from './host.ts';

/** Throws VmError `usage` or `unsupported`. */
export function openStorage(host: Host, place: string): Storage {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(place)) throw new VmError('unsupported', `${place}: publishing goes to a directory only`);
  return new DirectoryStorage(host.files, place);
}
