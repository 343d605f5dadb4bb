/** Where the snapshots of a name came from, for the next time. */
import type { Files } from '../../platform/files.ts';
import { isRecipeName } from '../recipe/recipe.ts';

const FILE = 'origins.json';

/** By name. What cannot be read counts as nothing. */
export async function origins(files: Files, stateDirectory: string): Promise<Map<string, string>> {
  const data = await files.read(`${stateDirectory}/${FILE}`);
  try {
    const value: unknown = data && JSON.parse(new TextDecoder().decode(data));
    const entries = Object.entries((value ?? {}) as Record<string, unknown>);
    return new Map(entries.filter((entry): entry is [string, string] => isRecipeName(entry[0]) && typeof entry[1] === 'string'));
  } catch {
    return new Map();
  }
}

export async function originOf(files: Files, stateDirectory: string, name: string): Promise<string | undefined> {
  return (await origins(files, stateDirectory)).get(name);
}

export async function rememberOrigin(files: Files, stateDirectory: string, name: string, place: string): Promise<void> {
  const known = await origins(files, stateDirectory);
  if (known.get(name) === place) return;
  known.set(name, place);
  const text = JSON.stringify(Object.fromEntries([...known].sort()), undefined, 2);
  await files.write(`${stateDirectory}/${FILE}`, new TextEncoder().encode(`${text}\n`));
}
