/** What the documents say exists does exist: links, files, npm scripts, verbs, options. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { BOOT_HELP } from '../../src/cli/verbs/boot.ts';
import { BUILD_HELP } from '../../src/cli/verbs/build.ts';
import { DIFF_HELP } from '../../src/cli/verbs/diff.ts';
import { DOCTOR_HELP } from '../../src/cli/verbs/doctor.ts';
import { INFO_HELP } from '../../src/cli/verbs/info.ts';
import { LIST_HELP } from '../../src/cli/verbs/list.ts';
import { PRUNE_HELP } from '../../src/cli/verbs/prune.ts';
import { PUBLISH_HELP } from '../../src/cli/verbs/publish.ts';
import { PULL_HELP, UPDATE_HELP } from '../../src/cli/verbs/pull.ts';
import { SERVE_HELP } from '../../src/cli/verbs/serve.ts';
import { TRY_HELP } from '../../src/cli/verbs/try.ts';
import { VERIFY_HELP } from '../../src/cli/verbs/verify.ts';
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
const VERBS = [
  'try',
  'boot',
  'build',
  'list',
  'info',
  'diff',
  'prune',
  'pull',
  'update',
  'publish',
  'verify',
  'serve',
  'doctor',
  'help',
  'version',
];
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
    expect(all(/npm run daybreak -- (\w+)/g, (verb) => VERBS.includes(verb) || verb === 'VERB')).toEqual([]);
    expect(all(/daybreak\.js (\w+)/g, (verb) => VERBS.includes(verb))).toEqual([]);
  });

  test('name all options of each verb, and no other', () => {
    const optionsIn = (text: string): string[] =>
      [...new Set([...text.matchAll(/(?<![\w-])--[a-z][a-z-]+/g)].map(([option]) => option))].toSorted();
    const listed = (document: string): string[] =>
      optionsIn([...textOf(document).matchAll(/^\| `(--[^`]*)`/gm)].map((match) => match[1]).join('\n'));
    const offered = (help: string): string[] => optionsIn(help.slice(help.indexOf('Options:'))).filter((option) => option !== '--help');
    expect(listed('docs/try-debian.md')).toEqual(offered(TRY_HELP));
    expect(listed('docs/boot-a-kernel.md')).toEqual(offered(BOOT_HELP));
    expect(listed('docs/browser.md')).toEqual(offered(SERVE_HELP));
    const ofSnapshots = [BUILD_HELP, LIST_HELP, INFO_HELP, DIFF_HELP, PRUNE_HELP].flatMap(offered);
    expect(listed('docs/recipes.md')).toEqual([...new Set(ofSnapshots)].toSorted());
    const ofPublishing = [PUBLISH_HELP, VERIFY_HELP, PULL_HELP, UPDATE_HELP].flatMap(offered);
    expect(listed('docs/publishing.md')).toEqual([...new Set(ofPublishing)].toSorted());
    expect(listed('docs/kvm.md')).toEqual(offered(DOCTOR_HELP));
  });
});

/** Folders that git does not keep while they have no files. */
const EMPTY = new Set(['net/']);
