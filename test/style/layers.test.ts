/** The direction of imports between the folders of src/, as ARCHITECTURE.md draws it. Cycles are the linter's business. */
import { describe, expect, test } from 'vitest';
import { filesUnder, importsOf } from './sources.ts';

const MACHINE = ['base', 'platform', 'machine'];
const PARTS = ['x86', 'devices', 'firmware', 'storage', 'net'];
const BOARDS = [...MACHINE, ...PARTS, 'boards'];
const HOSTS = [...MACHINE, 'storage'];
const ALL = [...BOARDS, 'snapshots', 'node', 'browser', 'server', 'cli', 'web'];

/** Which folders each folder may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  platform: ['base'],
  machine: ['base', 'platform'],
  ...Object.fromEntries(PARTS.map((part) => [part, MACHINE])),
  boards: BOARDS,
  snapshots: BOARDS,
  node: HOSTS,
  browser: HOSTS,
  cli: ALL,
  server: ALL,
  web: ALL,
};

/** Packages that ship with the product, and the one folder that each serves. */
const PACKAGES: Readonly<Record<string, string>> = {
  fzstd: 'storage',
  'xz-decompress': 'storage',
  '@bokuweb/zstd-wasm': 'node',
  koffi: 'node',
  aws4fetch: 'snapshots',
  openpgp: 'snapshots',
  'smol-toml': 'snapshots',
  '@xterm/xterm': 'web',
  '@xterm/addon-fit': 'web',
};

/** Folders that know the host they run on. */
const ON_NODE = ['node', 'cli', 'server'];

const folderOf = (path: string): string => path.split('/')[1]!;
const isTest = (path: string): boolean => path.endsWith('.test.ts') || path.includes('/testing/');
const sources = filesUnder('src').filter((path) => path.endsWith('.ts'));
const product = sources.filter((path) => !isTest(path));

describe('imports', () => {
  test('every folder of src has its place in the table', () => {
    expect(product.map(folderOf).filter((folder) => !MAY_IMPORT[folder])).toEqual([]);
  });

  test('run in one direction only', () => {
    const wrong = product.flatMap((file) =>
      importsOf(file).flatMap(({ path }) => {
        if (path === undefined) return [];
        const [from, to] = [folderOf(file), folderOf(path)];
        return from === to || (path.startsWith('src/') && MAY_IMPORT[from]?.includes(to)) ? [] : [`${file} imports ${path}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test('of packages stay in the folder that has them', () => {
    const wrong = product.flatMap((file) =>
      importsOf(file).flatMap(({ specifier, path }) => {
        if (path !== undefined || (specifier.startsWith('node:') && ON_NODE.includes(folderOf(file)))) return [];
        return PACKAGES[specifier] === folderOf(file) ? [] : [`${file} imports ${specifier}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test('of test code do not reach the product', () => {
    const wrong = product.flatMap((file) =>
      importsOf(file).flatMap(({ path }) => (path !== undefined && isTest(path) ? [`${file} imports ${path}`] : [])),
    );
    expect(wrong).toEqual([]);
  });

  test('name files as they are called', () => {
    // The runtime is AssemblyScript, whose imports have no extension.
    const files = new Set(sources);
    const wrong = sources.flatMap((file) =>
      importsOf(file).flatMap(({ path }) => {
        if (path === undefined || !path.startsWith('src/')) return [];
        return files.has(file.startsWith('src/x86/runtime/') ? `${path}.ts` : path) ? [] : [`${file} imports ${path}`];
      }),
    );
    expect(wrong).toEqual([]);
  });
});
