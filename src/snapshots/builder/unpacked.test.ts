import { expect, test } from 'vitest';
import { sha256 } from '../../base/sha256.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { makeAr, makeDeb, makeTar, type TestEntry } from '../../storage/testing/archives.ts';
import type { Tree } from '../../storage/tree.ts';
import type { PackageFile } from '../debian/packages.ts';
import { unpackPackages, wantedBy } from './unpacked.ts';

interface TestPackage {
  readonly name: string;
  readonly fields?: string;
  readonly entries?: readonly TestEntry[];
  readonly control?: Readonly<Record<string, string>>;
  readonly deb?: Uint8Array;
}

const store = new MemoryChunkStore();

async function unpack(packages: readonly TestPackage[], base?: Tree, without: readonly string[] = []) {
  const debs = new Map<string, Uint8Array>();
  const files: PackageFile[] = [];
  for (const { name, fields = '', entries = [], control = {}, deb } of packages) {
    const more = Object.entries(control).map(([file, content]) => ({ path: `./${file}`, content }));
    const data = deb ?? makeDeb(`Package: ${name}\nVersion: 1\nArchitecture: amd64\n${fields}Description: test\n`, entries, more);
    debs.set(name, data);
    files.push({ name, version: '1', architecture: 'amd64', filename: `${name}.deb`, sizeBytes: data.length, sha256: await sha256(data) });
  }
  const result = await unpackPackages(files, store, {
    time: 100,
    wanted: wantedBy(without),
    deb: async ({ name }) => debs.get(name)!,
    ...(base && { base }),
  });
  return { ...result, tree: result.builder.build() };
}

async function content(tree: Tree, path: string): Promise<string | undefined> {
  const node = tree.get(path);
  return node?.type === 'file' ? new TextDecoder().decode(await store.get(node.digest)) : undefined;
}

const LIB: TestPackage = {
  name: 'lib',
  fields: 'Multi-Arch: same\n',
  entries: [
    { path: './usr/lib/lib.so', content: 'lib' },
    { path: './etc/lib.conf', content: 'conf' },
    { path: './usr/share/man/man1/lib.1', content: 'manual' },
  ],
  control: {
    conffiles: '/etc/lib.conf\nremove-on-upgrade /etc/old\n',
    triggers: 'activate-noawait ldconfig\n',
    postinst: '#!/bin/sh\n',
    shlibs: 'x',
  },
};
const LIBC: TestPackage = {
  name: 'libc-bin',
  control: { triggers: '# comment\ninterest-noawait ldconfig\ninterest /usr/share/icons\ninterest ../../x\n', preinst: '#!/bin/sh\n' },
};

test('a package lies there as dpkg leaves it before it configures it', async () => {
  const { tree, preinsts } = await unpack([LIB, LIBC]);
  expect(await content(tree, 'usr/lib/lib.so')).toBe('lib');
  expect(tree.get('etc/lib.conf')).toBeUndefined();
  expect(await content(tree, 'etc/lib.conf.dpkg-new')).toBe('conf');
  const status = await content(tree, 'var/lib/dpkg/status');
  expect(status).toContain('Package: lib\nStatus: install ok unpacked\nVersion: 1');
  expect(status).toContain('Conffiles:\n /etc/lib.conf newconffile\n');
  expect(status).not.toContain('/etc/old');
  expect(await content(tree, 'var/lib/dpkg/info/lib:amd64.list')).toContain('/usr/lib/lib.so\n');
  expect(tree.get('var/lib/dpkg/info/lib:amd64.postinst')).toMatchObject({ mode: 0o755 });
  expect(tree.get('var/lib/dpkg/info/lib:amd64.shlibs')).toBeUndefined();
  expect(preinsts).toEqual([{ info: 'libc-bin', package: 'libc-bin' }]);
});

test('triggers are known to dpkg, and set off nothing where nobody is configured yet', async () => {
  const icons: TestPackage = { name: 'icons', entries: [{ path: './usr/share/icons/x.png', content: '' }] };
  const { tree, triggers } = await unpack([LIB, LIBC, icons]);
  expect(await content(tree, 'var/lib/dpkg/triggers/ldconfig')).toBe('libc-bin/noawait\n');
  expect(await content(tree, 'var/lib/dpkg/triggers/File')).toBe('/usr/share/icons libc-bin\n');
  expect(triggers).toEqual([]);
  expect([...tree.entries()].filter(([path]) => path.startsWith('var/lib/dpkg/triggers/')).length).toBe(3);
});

test('a layer adds to its base, whose files it shares and whose triggers it sets off', async () => {
  const { tree: base } = await unpack([LIB, LIBC]);
  const icons: TestPackage = { name: 'icons', entries: [{ path: './usr/share/icons/x.png', content: '' }] };
  const { tree, triggers } = await unpack([icons], base);
  expect(tree.get('usr/lib/lib.so')).toBe(base.get('usr/lib/lib.so'));
  const status = await content(tree, 'var/lib/dpkg/status');
  expect(status!.match(/^Package: .*/gm)).toEqual(['Package: lib', 'Package: libc-bin', 'Package: icons']);
  expect(triggers).toEqual(['/usr/share/icons']);
  const more: TestPackage = { name: 'more', control: { triggers: 'interest own\nactivate ldconfig\nactivate own\n' } };
  expect((await unpack([more], base)).triggers).toEqual(['ldconfig']);
});

test('what is not wanted is left out, by beginnings of paths and by *', async () => {
  const { tree } = await unpack([LIB], undefined, ['usr/share/man/', 'usr/*/lib.so']);
  expect(tree.get('usr/share/man/man1/lib.1')).toBeUndefined();
  expect(tree.get('usr/lib/lib.so')).toBeUndefined();
  expect(await content(tree, 'var/lib/dpkg/info/lib:amd64.list')).toContain('/usr/share/man/man1/lib.1');
});

test('the same packages give the same tree', async () => {
  const digests = [await (await unpack([LIB, LIBC])).tree.digest(), await (await unpack([LIB, LIBC])).tree.digest()];
  expect(digests[0]).toBe(digests[1]);
  expect(await (await unpack([LIB])).tree.digest()).not.toBe(digests[0]);
});

const control = ['control.tar', makeTar([{ path: './control', content: 'Package: bad\nVersion: 1\nArchitecture: amd64\n' }])] as const;
const withData = (data: Uint8Array) => makeAr([['debian-binary', '2.0\n'], control, ['data.tar', data]]);

test.each<[string, TestPackage]>([
  ['climbs out of the tree', { name: 'bad', entries: [{ path: './../../etc/passwd', content: 'x' }] }],
  ['puts a file through a link into a file', { name: 'bad', entries: [{ path: './a', content: 'x' }, { path: './l', flag: '2', target: 'a' }, { path: './l/x', content: '' }] }], // prettier-ignore
  ['has links that go in a circle', { name: 'bad', entries: [{ path: './a', flag: '2', target: 'b' }, { path: './b', flag: '2', target: 'a' }, { path: './a/x', content: '' }] }], // prettier-ignore
  ['links to what is not there', { name: 'bad', entries: [{ path: './a', flag: '1', target: '/etc/shadow' }] }],
  ['has a symlink to nowhere', { name: 'bad', entries: [{ path: './a', flag: '2', target: '' }] }],
  ['has an entry of an unknown kind', { name: 'bad', entries: [{ path: './a', flag: 'Z' }] }],
  ['is another package', { name: 'bad', deb: makeDeb('Package: good\nVersion: 1\nArchitecture: amd64\n', []) }],
  ['is no package', { name: 'bad', deb: new TextEncoder().encode('MZ') }],
  [
    'has an entry that is longer than the archive',
    { name: 'bad', deb: withData(makeTar([{ path: './a', content: 'x'.repeat(5000) }]).subarray(0, 1024)) },
  ],
])('refuses a package that %s', async (_what, bad) => {
  await expect(unpack([bad])).rejects.toMatchObject({ code: 'bad-image', message: expect.stringContaining('bad') });
});

test('a link out of the tree stays a link, and what goes through it stays in the tree', async () => {
  const { tree } = await unpack([
    { name: 'sly', entries: [{ path: './out', flag: '2', target: '../../../../etc' }, { path: './out/x', content: 'x' }] }, // prettier-ignore
  ]);
  expect(tree.get('out')).toMatchObject({ target: '../../../../etc' });
  expect(await content(tree, 'etc/x')).toBe('x');
});

test('a device node in a package is an entry of the tree and nothing on this computer', async () => {
  const { tree } = await unpack([{ name: 'dev', entries: [{ path: './dev/sda', flag: '4', major: 8, minor: 0 }] }]);
  expect(tree.get('dev/sda')).toMatchObject({ type: 'block', major: 8 });
});
