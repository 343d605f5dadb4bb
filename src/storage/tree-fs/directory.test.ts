import { expect, test } from 'vitest';
import { seededRandom } from '../../machine/testing/random.ts';
import { Directory } from './directory.ts';

test('a listing in parts gives every name that stayed exactly once, whatever else comes and goes', () => {
  const random = seededRandom(3);
  const directory = new Directory();
  for (let i = 0; i < 200; i++) directory.add(`stays${i}`, i);
  const seen: string[] = [];
  let cookie = 0;
  for (let round = 0; ; round++) {
    let left = 7;
    const before = cookie;
    directory.visit(cookie, (entry) => {
      if (left-- === 0) return false;
      if (entry.name.startsWith('stays')) seen.push(entry.name);
      cookie = entry.cookie;
      return true;
    });
    if (cookie === before || round > 1000) break;
    if (round < 100) for (let i = 0; i < 5; i++) directory.add(`comes${round} ${i}`, 0);
    for (let i = 0; i < 4; i++) directory.remove(`comes${random(100)} ${random(5)}`);
  }
  expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => `stays${i}`));
});

test('a name that is replaced keeps its place', () => {
  const directory = new Directory();
  for (const [i, name] of ['a', 'b', 'c'].entries()) directory.add(name, i);
  directory.replace('b', 7);
  expect(directory.entries().map(({ name, ino }) => `${name}${ino}`)).toEqual(['a0', 'b7', 'c2']);
});

test('what was saved is refused when cookies or names are there twice', () => {
  const entry = { name: 'a', ino: 1, cookie: 5 };
  expect(new Directory().restore([entry], 6)).toBe(true);
  expect(new Directory().restore([entry, { ...entry, name: 'b' }], 9)).toBe(false);
  expect(new Directory().restore([entry, { ...entry, cookie: 6 }], 9)).toBe(false);
  expect(new Directory().restore([entry], 5)).toBe(false);
});
