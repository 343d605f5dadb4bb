import { expect, test } from 'vitest';
import { fieldOf, parseDependencies } from './control.ts';

const STANZA = 'Package: x\nDepends: a,\n b\nConffiles:\n /etc/x 12\n /etc/y 34\nX-Package: no\nLast: end';

test('a field is found at the beginning, in the middle with its continuation lines, and at the end', () => {
  expect(fieldOf(STANZA, 'Package')).toBe('x');
  expect(fieldOf(STANZA, 'Depends')).toBe('a,\n b');
  expect(fieldOf(STANZA, 'Conffiles')).toBe('/etc/x 12\n /etc/y 34');
  expect(fieldOf(STANZA, 'Last')).toBe('end');
  expect(fieldOf(STANZA, 'Absent')).toBeUndefined();
});

test('dependencies are read with alternatives, versions and architectures', () => {
  expect(parseDependencies('a (>= 1.2-3), b:any | c ( << 4 ) ,d(=5)')).toEqual([
    [{ name: 'a', relation: '>=', version: '1.2-3' }],
    [{ name: 'b' }, { name: 'c', relation: '<<', version: '4' }],
    [{ name: 'd', relation: '=', version: '5' }],
  ]);
  expect(parseDependencies(undefined)).toEqual([]);
});

test('what cannot be read is left out and reported', () => {
  const bad: string[] = [];
  expect(parseDependencies('good, BAD!, x (? 1)', (part) => bad.push(part))).toEqual([[{ name: 'good' }]]);
  expect(bad).toEqual(['BAD!', 'x (? 1)']);
});
