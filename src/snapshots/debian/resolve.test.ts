import { describe, expect, test } from 'vitest';
import { PackageIndex } from './packages.ts';
import { resolve } from './resolve.ts';

const DIGEST = 'a'.repeat(64);

/** Stanzas from `name version` and further fields. */
async function index(...packages: [string, string?][]): Promise<PackageIndex> {
  const text = packages
    .map(([nameVersion, fields]) => {
      const [name, version = '1'] = nameVersion.split(' ');
      return `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\n${fields ? `${fields}\n` : ''}Filename: pool/${name}.deb\nSize: 1\nSHA256: ${DIGEST}\n`;
    })
    .join('\n');
  return PackageIndex.read(
    'test',
    (async function* pieces() {
      // In small pieces: a stanza's end falls between two of them.
      for (let at = 0; at < text.length; at += 7) yield new TextEncoder().encode(text.slice(at, at + 7));
    })(),
  );
}

const names = (result: ReturnType<typeof resolve>) => result.packages.map(({ name }) => name);

describe('resolve', () => {
  test('follows Depends and Pre-Depends, and leaves out Recommends', async () => {
    const archive = await index(['a', 'Depends: b\nPre-Depends: c\nRecommends: d'], ['b', 'Depends: a'], ['c'], ['d']);
    expect(names(resolve(archive, ['a']))).toEqual(['a', 'b', 'c']);
  });

  test('takes the first alternative that can be had', async () => {
    const archive = await index(['a', 'Depends: gone | b | c'], ['b'], ['c']);
    expect(names(resolve(archive, ['a']))).toEqual(['a', 'b']);
  });

  test('a wanted package decides an alternative', async () => {
    const archive = await index(['a', 'Depends: b | c'], ['b'], ['c']);
    expect(names(resolve(archive, ['a', 'c']))).toEqual(['a', 'c']);
  });

  test('skips an alternative whose version does not fit', async () => {
    const archive = await index(['a', 'Depends: b (>= 2) | c'], ['b 1'], ['c']);
    expect(names(resolve(archive, ['a']))).toEqual(['a', 'c']);
  });

  test('chooses the provider of the highest priority, then by name', async () => {
    const archive = await index(
      ['a', 'Depends: awk'],
      ['zawk', 'Provides: awk\nPriority: required'],
      ['gawk', 'Provides: awk\nPriority: optional'],
    );
    expect(names(resolve(archive, ['a']))).toEqual(['a', 'zawk']);
    const equal = await index(['a', 'Depends: awk'], ['zawk', 'Provides: awk'], ['gawk', 'Provides: awk']);
    expect(names(resolve(equal, ['a']))).toEqual(['a', 'gawk']);
  });

  test('a versioned dependency takes only a versioned Provides', async () => {
    const archive = await index(
      ['a', 'Depends: v (>= 2)'],
      ['plain', 'Provides: v'],
      ['old', 'Provides: v (= 1)'],
      ['right', 'Provides: v (= 2)'],
    );
    expect(names(resolve(archive, ['a']))).toEqual(['a', 'right']);
  });

  test('of several versions the newest is taken', async () => {
    const archive = await index(['a 1.9'], ['a 1.10'], ['a 1.2']);
    expect(resolve(archive, ['a']).packages[0]!.version).toBe('1.10');
  });

  test('an unmet dependency is told, and the rest goes on', async () => {
    const archive = await index(['a', 'Depends: gone (>= 1) | away, b'], ['b']);
    const result = resolve(archive, ['a']);
    expect(names(result)).toEqual(['a', 'b']);
    expect(result.unmet).toEqual(['a needs gone (>= 1) or away, which the archive does not have']);
  });

  test('a wanted package that is not there is an error', async () => {
    const archive = await index(['a']);
    expect(() => resolve(archive, ['b'])).toThrow(/no package b/);
  });
});

describe('a package index', () => {
  test('knows its Essential packages', async () => {
    const archive = await index(['z', 'Essential: yes'], ['b'], ['a', 'Essential: yes']);
    expect(archive.essential().map(({ name }) => name)).toEqual(['a', 'z']);
  });

  test.each([
    ['a stanza without a name', 'Version: 1\n', /no Package field/],
    ['no digest', `Package: a\nVersion: 1\nArchitecture: all\nFilename: x\nSize: 1\n`, /no SHA256/],
    ['a bad size', `Package: a\nVersion: 1\nArchitecture: all\nFilename: x\nSize: -1\nSHA256: ${DIGEST}\n`, /bad Size/],
    [
      'a file outside the archive',
      `Package: a\nVersion: 1\nArchitecture: all\nFilename: ../../x\nSize: 1\nSHA256: ${DIGEST}\n`,
      /refusing Filename/,
    ],
  ])('%s is refused', async (_what, text, message) => {
    const read = async () => {
      const archive = await PackageIndex.read(
        'test',
        (async function* pieces() {
          yield new TextEncoder().encode(text);
        })(),
      );
      archive.get('a');
    };
    await expect(read()).rejects.toThrow(message);
  });

  test('avoids what excludes a chosen package when there is another way', async () => {
    const archive = await index(['a', 'Depends: b | c'], ['b', 'Conflicts: d'], ['c'], ['d']);
    expect(names(resolve(archive, ['a', 'd']))).toEqual(['a', 'c', 'd']);
    expect(resolve(archive, ['a', 'd']).unmet).toEqual([]);
  });

  test('says which packages exclude each other, also by a virtual name', async () => {
    const archive = await index(['a', 'Breaks: b (<< 2)'], ['b 1'], ['m', 'Provides: mta\nConflicts: mta'], ['n', 'Provides: mta']);
    expect(resolve(archive, ['a', 'b', 'm', 'n']).unmet).toEqual(['a 1 cannot be together with b 1', 'm 1 cannot be together with n 1']);
  });

  test('adds to what is there, and takes nothing of it again', async () => {
    const archive = await index(['a', 'Depends: b, c'], ['b 2'], ['c']);
    const present = [{ name: 'b', version: '1', provides: [], conflicts: [] }];
    expect(names(resolve(archive, ['a', 'b'], present))).toEqual(['a', 'c']);
    const stricter = await index(['a', 'Depends: b (>= 2)'], ['b 2']);
    expect(resolve(stricter, ['a'], present).unmet).toEqual(['a needs b (>= 2), which the archive does not have']);
  });

  test('takes an older version where the newest leaves something unmet', async () => {
    const unstable = await index(['a', 'Depends: lib (= 1)'], ['lib 1'], ['tool', 'Depends: data (>= 1)'], ['data 1']);
    const experimental = await index(['lib 2'], ['tool 2', 'Depends: data (>= 9)']);
    const result = resolve(PackageIndex.merge([unstable, experimental]), ['a', 'lib', 'tool']);
    expect(result.unmet).toEqual([]);
    expect(result.packages.map(({ name, version }) => `${name} ${version}`)).toEqual(['a 1', 'data 1', 'lib 1', 'tool 1']);
    const free = resolve(PackageIndex.merge([unstable, experimental]), ['lib']);
    expect(free.packages.map(({ version }) => version)).toEqual(['2']);
  });
});
