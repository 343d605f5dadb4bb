/** What this computer's user has for container registries. */
import { homedir } from 'node:os';
import type { Files } from '../platform/files.ts';
import { runProgram } from '../node/run-program.ts';
import type { RegistryHost } from '../snapshots/registry/authorization.ts';
import { registryCredentials } from './registry-credentials.ts';

export function nodeCredentials(
  files: Files,
  environment: Readonly<Record<string, string | undefined>>,
): NonNullable<RegistryHost['registryCredentials']> {
  return (registry) => registryCredentials({ files, environment, homeDirectory: homedir(), run: runProgram }, registry);
}
