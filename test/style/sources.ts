/** The project's own files, for tests that judge them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Made, fetched, or nobody's business. */
const IGNORED = new Set(['.git', 'node_modules', 'dist', 'build', 'coverage']);

/** Paths of all files under a directory, relative to the project's root, with `/`. */
export function filesUnder(directory = ''): string[] {
  return readdirSync(join(ROOT, directory), { withFileTypes: true })
    .filter(({ name }) => !IGNORED.has(name))
    .flatMap((entry) => {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      return entry.isDirectory() ? filesUnder(path) : [path];
    });
}

export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export interface Import {
  readonly specifier: string;
  /** For a relative import: the file it names, relative to the project's root. */
  readonly path: string | undefined;
}

/** What a module imports or exports from, types included. */
export function importsOf(file: string): Import[] {
  const found = textOf(file).matchAll(
    /^(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]|\bimport\(['"]([^'"]+)['"]\)/gm,
  );
  return [...found].map((match) => {
    const specifier = (match[1] ?? match[2] ?? match[3])!;
    return { specifier, path: specifier.startsWith('.') ? join(file, '..', specifier).replaceAll('\\', '/') : undefined };
  });
}
