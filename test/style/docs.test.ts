/** What the documents say exists does exist: links, files, npm scripts, verbs, options. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { USAGES, VERB_NAMES, type VerbName } from '../../src/cli/usage/table.ts';
import { filesUnder, textOf } from './sources.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const documents = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...filesUnder('docs').filter((path) => path.endsWith('.md')),
];
const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
const exists = (path: string): boolean => existsSync(join(ROOT, path));

/** Every match of a pattern's first group in every document, as `document: match`. */
function all(pattern: RegExp, accept: (found: string, document: string) => boolean): string[] {
  return documents.flatMap((document) =>
    [...textOf(document).matchAll(pattern)]
      .map((match) => match[1]!)
      .flatMap((found) => (accept(found, document) ? [] : [`${document}: ${found}`])),
  );
}

describe('the documents', () => {
  test('link to files that exist', () => {
    const wrong = all(/\]\(([^)#]+)[^)]*\)/g, (link, document) => link.startsWith('https:') || exists(join(dirname(document), link)));
    expect(wrong).toEqual([]);
  });

  test('name files of src, test, scripts and docs that exist', () => {
    expect(all(/`((?:src|test|scripts|docs)\/[\w./-]*)/g, (path) => exists(path))).toEqual([]);
    // ARCHITECTURE.md leaves out src/ and, where it is about one folder, that folder.
    const places = ['src/', 'src/x86/', 'src/snapshots/', 'src/snapshots/debian/', 'src/snapshots/builder/', 'src/devices/', 'src/boards/'];
    const named = [...textOf('ARCHITECTURE.md').matchAll(/`([a-z0-9][\w/-]*(?:\.ts|\/))`/g)].map((match) => match[1]!);
    expect(named.filter((path) => ![...places, ''].some((place) => exists(place + path)) && !EMPTY.has(path))).toEqual([]);
  });

  test('name npm scripts that exist', () => {
    const builtIn = new Set(['start', 'test', 'ci', 'i']);
    expect(all(/npm run ([\w:-]+)/g, (name) => scripts[name] !== undefined)).toEqual([]);
    expect(
      all(
        /(?:^ {4}|`)npm ([a-z]+)/gm,
        (name) => name === 'run' || (builtIn.has(name) && (!/start|test/.test(name) || scripts[name] !== undefined)),
      ),
    ).toEqual([]);
  });

  test('name verbs that exist', () => {
    expect(all(/npm run daybreak -- (\w+)/g, (verb) => (VERB_NAMES as readonly string[]).includes(verb) || verb === 'VERB')).toEqual([]);
    expect(all(/daybreak\.js (\w+)/g, (verb) => (VERB_NAMES as readonly string[]).includes(verb))).toEqual([]);
  });

  test('name all options of each verb, and no other', () => {
    const listed = (document: string): string[] => {
      const rows = [...textOf(document).matchAll(/^\| `(--[^`]*)`/gm)].map((match) => match[1]).join('\n');
      return [...new Set([...rows.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map((match) => match[1]!))].toSorted();
    };
    const offered = (...verbs: VerbName[]): string[] => [...new Set(verbs.flatMap((verb) => Object.keys(USAGES[verb].options)))].toSorted();
    expect(listed('docs/try-debian.md')).toEqual(offered('try'));
    expect(listed('docs/boot-a-kernel.md')).toEqual(offered('boot'));
    expect(listed('docs/machines.md')).toEqual(offered('ps', 'stop', 'keep', 'rm'));
    expect(listed('docs/browser.md')).toEqual(offered('serve'));
    expect(listed('docs/recipes.md')).toEqual(offered('build', 'list', 'info', 'diff', 'prune'));
    expect(listed('docs/publishing.md')).toEqual(offered('publish', 'verify', 'search', 'pull', 'update'));
    expect(listed('docs/kvm.md')).toEqual(offered('doctor'));
  });
});

/** Folders that git does not keep while they have no files. */
const EMPTY = new Set(['net/']);
