import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeFiles } from '../../node/files.ts';
import { loadRecipe, recipeNames } from './load.ts';

const SHIPPED = fileURLToPath(new URL('../../../recipes', import.meta.url));
const files = new NodeFiles();
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-recipes-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function write(name: string, text: string): string {
  const path = join(directory, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
}

test('the recipes that are shipped can all be loaded', async () => {
  const names = await recipeNames(files, SHIPPED);
  expect(names).toEqual(['debian', 'debian/experimental', 'debian/kde', 'debian/trixie']);
  for (const name of names) expect((await loadRecipe(files, SHIPPED, name)).packages).toContain('systemd');
});

test('a recipe of the same suites is a layer on its base; one of others has a tree of its own', async () => {
  const own = write('mine.toml', 'from = "debian"\npackages = ["hello"]\n');
  const mine = await loadRecipe(files, SHIPPED, own);
  expect(mine).toMatchObject({ name: 'mine', suites: ['unstable'], kernel: 'linux-image-cloud-amd64' });
  expect(mine.layer?.name).toBe('debian');
  expect(mine.own.packages).toEqual(['hello']);
  expect(mine.packages).toEqual([...mine.layer!.packages, 'hello']);
  expect((await loadRecipe(files, SHIPPED, 'debian/trixie')).layer).toBeUndefined();
});

test('takes along the files beside it', async () => {
  write('files/motd', 'Hi\n');
  const own = write('mine.toml', 'from = "debian"\n[[files]]\npath = "/etc/motd"\nsource = "files/motd"\n');
  const { own: parts } = await loadRecipe(files, SHIPPED, own);
  expect(new TextDecoder().decode(parts.files[0]!.data)).toBe('Hi\n');
});

test('says which file, recipe or name is wrong', async () => {
  const load = (wanted: string, from = SHIPPED) => loadRecipe(files, from, wanted);
  await expect(load('fedora')).rejects.toMatchObject({
    code: 'not-found',
    message: expect.stringContaining('there is debian, debian/experimental'),
  });
  await expect(load('../debian')).rejects.toMatchObject({ code: 'usage' });
  await expect(load(join(directory, 'none.toml'))).rejects.toMatchObject({ code: 'not-found' });
  const missing = write('mine.toml', 'from = "debian"\n[[files]]\npath = "/etc/motd"\nsource = "motd"\n');
  await expect(load(missing)).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('/etc/motd') });
  await expect(load(write('My Recipe.toml', 'from = "debian"\n'))).rejects.toMatchObject({ code: 'usage' });
  write('a.toml', 'from = "b"\n');
  write('b.toml', 'from = "a"\n');
  await expect(load('a', directory)).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining('a, b, a') });
});
