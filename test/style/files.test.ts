/** Rules that hold for every file of the project. */
import { describe, expect, test } from 'vitest';
import { filesUnder, textOf } from './sources.ts';

const LINES_MAX = 800;
/** Longer files, each with its reason. A table is a reason. */
const LONG: Readonly<Record<string, string>> = {};

const TEXT = /\.(ts|mjs|mts|js|json|md|c|S|sh|svg|yml)$|^\.ci\/|^LICENSE$|^\.[a-z]+rc(\.json)?$/;
const files = filesUnder().filter((path) => TEXT.test(path));
const code = files.filter((path) => /\.(ts|mts|mjs|c|S)$/.test(path));

const lineCount = (path: string): number => textOf(path).split('\n').length - 1;

describe('files', () => {
  test(`of code have at most ${LINES_MAX} lines`, () => {
    expect(code.filter((path) => lineCount(path) > LINES_MAX && !LONG[path])).toEqual([]);
  });

  test('excused for their length are still long', () => {
    expect(Object.keys(LONG).filter((path) => !files.includes(path) || lineCount(path) <= LINES_MAX)).toEqual([]);
  });

  test('of code have names in kebab case', () => {
    const wrong = code.filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.(ts|mts|mjs|c)$|\.S$/.test(path.split('/').at(-1)!));
    expect(wrong.filter((path) => !path.endsWith('.d.mts'))).toEqual([]);
  });

  test('name no place of one computer', () => {
    // Directories that differ from computer to computer; `me` may live anywhere. Spelt so that this file does not find itself.
    const places = new RegExp(`(?<![\\w.$}*-])/(?:${['home', 'work', 'Users', 'mnt/c'].join('|')})/(?!me/)[\\w-]`);
    expect(files.filter((path) => places.test(textOf(path)))).toEqual([]);
  });

  test('name hosts that everybody can reach, or that nobody can', () => {
    const known = new Set([
      '127.0.0.1', 'localhost', 'deb.debian.org', 'ftp-master.debian.org', 'wiki.debian.org', 'www.debian.org', 'snapshot.debian.org',
      'github.com', 'nodejs.org', 'no-color.org', 'www.apache.org', 'www.w3.org', 'unpkg.com', 'keepachangelog.com', 'semver.org',
      'registry.npmjs.org', 'liberapay.com', 'index.docker.io', 'opencollective.com', 'tidelift.com', 'paypal.me', 'www.patreon.com', 'feross.org', 'bugs.debian.org',
    ]); // prettier-ignore
    const wrong = files.flatMap((path) =>
      [...textOf(path).matchAll(/https?:\/\/([a-z0-9][\w.-]*)/gi)]
        .map((match) => match[1]!.replace(/\.$/, ''))
        // RFC 2606: names for examples.
        .filter((host) => !known.has(host) && !/(^|\.)(example|test|invalid)(\.(com|org|net))?$/.test(host) && host.includes('.'))
        .map((host) => `${path}: ${host}`),
    );
    expect(wrong).toEqual([]);
  });

  test('of package locks name no other registry than the public one', () => {
    const resolved = [...textOf('package-lock.json').matchAll(/"resolved": "(https?:\/\/[^/"]+)/g)].map((match) => match[1]);
    expect([...new Set(resolved)].filter((host) => host !== 'https://registry.npmjs.org')).toEqual([]);
  });
});
