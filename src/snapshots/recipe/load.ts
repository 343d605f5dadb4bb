/** Finds a recipe and what it builds on, and puts them together. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import type { Files } from '../../platform/files.ts';
import { isRecipeName, parseRecipe, type Probe, type Recipe, type RecipeFile } from './recipe.ts';

/** Recipes on recipes on recipes: more is a circle. */
const MAX_DEPTH = 8;
/** A file that a recipe takes along. */
const MAX_FILE_BYTES = 256 * 2 ** 20;

export interface LoadedFile {
  readonly path: string;
  readonly mode: number;
  readonly digest: string;
  readonly data: Uint8Array;
}

/** What a recipe says itself. */
export interface RecipeParts {
  readonly packages: readonly string[];
  readonly without: readonly string[];
  readonly files: readonly LoadedFile[];
  readonly commands: readonly string[];
  readonly probes: readonly Probe[];
}

/** A recipe with everything that it takes over from those it builds on. */
export interface LoadedRecipe extends RecipeParts {
  readonly name: string;
  readonly title?: string;
  readonly suites: readonly string[];
  readonly kernel: string;
  readonly own: RecipeParts;
  /** The recipe whose tree is added to. Absent: a tree of its own, because there is no `from`, or because the suites differ. */
  readonly layer?: LoadedRecipe;
}

/**
 * `wanted` is the name of a recipe in `directory`, or the path of one's own, which ends in `.toml`. Throws VmError `usage` or
 * `not-found`.
 */
export async function loadRecipe(files: Files, directory: string, wanted: string): Promise<LoadedRecipe> {
  return load(files, directory, wanted, []);
}

async function load(files: Files, directory: string, wanted: string, chain: readonly string[]): Promise<LoadedRecipe> {
  if (chain.includes(wanted) || chain.length > MAX_DEPTH) {
    throw new VmError('usage', `the recipes ${[...chain, wanted].join(', ')} build on each other in a circle`);
  }
  const own = wanted.endsWith('.toml');
  if (!own && !isRecipeName(wanted)) throw new VmError('usage', `${JSON.stringify(wanted)} is neither a recipe's name nor a file *.toml`);
  const path = own ? wanted : `${directory}/${wanted}.toml`;
  const data = await files.read(path);
  if (!data) {
    const names = await recipeNames(files, directory);
    throw new VmError(
      'not-found',
      own ? `${path} does not exist` : `there is no recipe ${wanted} (there is ${names.join(', ')}; a recipe of your own is a file *.toml)`,
    );
  }
  const name = own ? ownName(path) : wanted;
  const recipe = parseRecipe(path, new TextDecoder().decode(data));
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.';
  const parts = await partsOf(files, recipe, folder);
  const { from, title } = recipe;
  if (from === undefined) {
    return { name, ...(title !== undefined && { title }), suites: recipe.suites, kernel: recipe.kernel!, ...parts, own: parts };
  }
  const base = await load(files, directory, from, [...chain, wanted]);
  const sameSuites = recipe.suites.length === 0 || recipe.suites.join() === base.suites.join();
  const sameKernel = recipe.kernel === undefined || recipe.kernel === base.kernel;
  return {
    name,
    ...(title !== undefined && { title }),
    suites: recipe.suites.length === 0 ? base.suites : recipe.suites,
    kernel: recipe.kernel ?? base.kernel,
    packages: [...new Set([...base.packages, ...parts.packages])],
    without: [...new Set([...base.without, ...parts.without])],
    files: [...base.files, ...parts.files],
    commands: [...base.commands, ...parts.commands],
    probes: [...base.probes, ...parts.probes],
    own: parts,
    ...(sameSuites && sameKernel && { layer: base }),
  };
}

/** Names of the recipes that come with the product. */
export async function recipeNames(files: Files, directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await files.list(directory)) {
    if (entry.endsWith('.toml')) found.push(entry.slice(0, -5));
    else
      for (const edition of await files.list(`${directory}/${entry}`))
        if (edition.endsWith('.toml')) found.push(`${entry}/${edition.slice(0, -5)}`);
  }
  return found.filter(isRecipeName).sort();
}

function ownName(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1, -5);
  if (isRecipeName(name)) return name;
  throw new VmError(
    'usage',
    `${path}: a recipe's file gives it its name, and ${JSON.stringify(name)} is none: lower-case letters, digits, + - .`,
  );
}

async function partsOf(files: Files, recipe: Recipe, folder: string): Promise<RecipeParts> {
  const { packages, without, commands, probes } = recipe;
  const loaded: LoadedFile[] = [];
  for (const file of recipe.files) loaded.push(await fileOf(files, file, folder));
  return { packages, without, files: loaded, commands, probes };
}

async function fileOf(files: Files, { path, content, source, mode }: RecipeFile, folder: string): Promise<LoadedFile> {
  const place = `${folder}/${source}`;
  if (source !== undefined && ((await files.info(place))?.sizeBytes ?? 0) > MAX_FILE_BYTES) {
    throw new VmError('usage', `${place}: a recipe's file may have ${MAX_FILE_BYTES} bytes at most`);
  }
  const data = source === undefined ? new TextEncoder().encode(content) : await files.read(place);
  if (!data) throw new VmError('not-found', `${place} does not exist, and is to become /${path}`);
  return { path, mode, data, digest: await sha256(data) };
}
