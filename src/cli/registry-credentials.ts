/**
 * Names and passwords for registries: from the environment, or where `docker login` and `podman login` keep them. A password of a helper's is
 * asked of its program, as Docker does: https://github.com/docker/docker-credential-helpers.
 */
import { VmError } from '../base/errors.ts';
import type { Files } from '../platform/files.ts';
import { parseObject, type RegistryCredentials } from '../snapshots/registry/authorization.ts';

export interface CredentialsHost {
  readonly files: Files;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly homeDirectory: string;
  /** Runs a program with some input; rejects with `host-io` when it cannot, or ends with an error. */
  readonly run: (program: string, args: readonly string[], input: string) => Promise<string>;
}

/** Docker Hub's, as it was called first, and still is there. */
const HUB = 'https://index.docker.io/v1/';

/** Undefined when nothing is known. Rejects with `host-io` when a file or a helper that should know cannot be asked. */
export async function registryCredentials(host: CredentialsHost, registry: string): Promise<RegistryCredentials | undefined> {
  const { environment } = host;
  const [username, password] = [environment['DAYBREAK_REGISTRY_USERNAME'], environment['DAYBREAK_REGISTRY_PASSWORD']];
  if (username && password !== undefined) return { username, password };
  for (const path of configFiles(host)) {
    const data = await host.files.read(path);
    const found = data && (await fromConfig(host, path, new TextDecoder().decode(data), registry));
    if (found) return found;
  }
  return undefined;
}

function configFiles({ environment, homeDirectory }: CredentialsHost): string[] {
  const runtime = environment['XDG_RUNTIME_DIR'];
  return [
    ...(environment['REGISTRY_AUTH_FILE'] ? [environment['REGISTRY_AUTH_FILE']] : []),
    `${environment['DOCKER_CONFIG'] || `${homeDirectory}/.docker`}/config.json`,
    ...(runtime ? [`${runtime}/containers/auth.json`] : []),
    `${environment['XDG_CONFIG_HOME'] || `${homeDirectory}/.config`}/containers/auth.json`,
  ];
}

async function fromConfig(host: CredentialsHost, path: string, text: string, registry: string): Promise<RegistryCredentials | undefined> {
  const config = parseObject(text);
  const keys = registry === 'docker.io' ? [HUB, registry] : [registry, `https://${registry}`];
  const helpers = (config['credHelpers'] ?? {}) as Record<string, unknown>;
  const auths = (config['auths'] ?? {}) as Record<string, unknown>;
  for (const key of keys) {
    const entry = (Object.hasOwn(auths, key) ? auths[key] : undefined) as Record<string, unknown> | undefined;
    const helper = (Object.hasOwn(helpers, key) ? helpers[key] : undefined) ?? (entry && !entry['auth'] ? config['credsStore'] : undefined);
    if (typeof helper === 'string' && helper !== '') return fromHelper(host, path, helper, key);
    const plain = typeof entry?.['auth'] === 'string' ? decode(entry['auth']) : undefined;
    const colon = plain?.indexOf(':') ?? -1;
    if (!entry || plain === undefined || colon < 0) continue;
    const token = entry['identitytoken'];
    return {
      username: plain.slice(0, colon),
      password: plain.slice(colon + 1).replace(/\0+$/, ''),
      ...(typeof token === 'string' && token !== '' && { identityToken: token }),
    };
  }
  return undefined;
}

function decode(base64: string): string | undefined {
  return /^[A-Za-z0-9+/=\s]*$/.test(base64)
    ? new TextDecoder().decode(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)))
    : undefined;
}

async function fromHelper(host: CredentialsHost, path: string, helper: string, key: string): Promise<RegistryCredentials | undefined> {
  if (!/^[\w.-]+$/.test(helper)) throw new VmError('host-io', `${path}: not the name of a credential helper: ${helper}`);
  const program = `docker-credential-${helper}`;
  let output: string;
  try {
    output = await host.run(program, ['get'], `${key}\n`);
  } catch (error) {
    if (error instanceof VmError && /credentials not found/i.test(error.message)) return undefined;
    throw error;
  }
  const { Username: username, Secret: secret } = parseObject(output);
  if (typeof username !== 'string' || typeof secret !== 'string') return undefined;
  // The helpers' own way to say that it is a token.
  return username === '<token>' ? { username, password: '', identityToken: secret } : { username, password: secret };
}
