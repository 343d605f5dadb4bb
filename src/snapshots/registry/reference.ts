/** `oci://HOST[:PORT]/REPOSITORY`: a repository of a container registry. OCI Distribution Specification 1.1, "Pulling manifests". */
import { VmError } from '../../base/errors.ts';

export interface RepositoryReference {
  /** As a person wrote it, without slashes at the end. */
  readonly place: string;
  /** As credentials are kept for it: `docker.io`, `localhost:5000`. */
  readonly registry: string;
  /** `https://HOST/v2/REPOSITORY`. */
  readonly url: string;
  readonly repository: string;
}

const REPOSITORY = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
const REPOSITORY_MAX = 255;

export function isRegistryPlace(place: string): boolean {
  return /^oci(\+http)?:\/\//i.test(place);
}

/** Throws VmError `usage`. Without TLS only on this computer, or where `oci+http://` says so. */
export function parseRepository(place: string): RepositoryReference {
  const match = /^oci(\+http)?:\/\/((?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?)\/(.+?)\/*$/i.exec(place);
  const [, plain, registry = '', repository = ''] = match ?? [];
  if (!match || !REPOSITORY.test(repository) || repository.length > REPOSITORY_MAX)
    throw new VmError(
      'usage',
      `${place}: expected oci://HOST/REPOSITORY, the repository in small letters and digits with ".", "_", "-" and "/" between them`,
    );
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  const scheme = plain || isLoopback(host.replace(/:\d+$/, '')) ? 'http' : 'https';
  return { place: place.replace(/\/+$/, ''), registry, url: `${scheme}://${host}/v2/${repository}`, repository };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
