/** Where `publish` puts what it publishes. */
import { VmError } from '../base/errors.ts';
import { OciStorage } from '../snapshots/publish/oci-storage.ts';
import { openS3 } from '../snapshots/publish/s3-storage.ts';
import { DirectoryStorage, type Storage } from '../snapshots/publish/storage.ts';
import { isRegistryPlace } from '../snapshots/registry/reference.ts';
import type { Host } from './host.ts';

/** Throws VmError `usage` or `unsupported`. */
export function openStorage(host: Host, place: string): Storage {
  if (place.startsWith('s3://')) return openS3(place, host.environment);
  if (isRegistryPlace(place)) return new OciStorage(host, place);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(place))
    throw new VmError('unsupported', `${place}: publishing goes to a directory, to s3://BUCKET/PREFIX or to oci://HOST/REPOSITORY`);
  return new DirectoryStorage(host.files, place);
}
