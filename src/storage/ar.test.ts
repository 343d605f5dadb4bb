import { describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { readAr } from './ar.ts';
import { makeAr } from './testing/archives.ts';

const text = (data: Uint8Array) => new TextDecoder().decode(data);

test('members come in order, with odd sizes padded', () => {
  const members = [
    ...readAr(
      'x.deb',
      makeAr([
        ['debian-binary', '2.0\n'],
        ['a', 'odd'],
        ['b', 'even'],
      ]),
    ),
  ];
  expect(members.map(({ name, data }) => [name, text(data)])).toEqual([
    ['debian-binary', '2.0\n'],
    ['a', 'odd'],
    ['b', 'even'],
  ]);
});

test('a slash at the end of a name, as GNU ar writes it, is no part of it', () => {
  expect([...readAr('x', makeAr([['name/', '']]))][0]!.name).toBe('name');
});

describe('refused as bad-image, naming the file', () => {
  const good = makeAr([['a', 'content']]);
  const cases: [string, Uint8Array][] = [
    ['no magic', new TextEncoder().encode('<html>nothing here</html>')],
    ['an empty file', new Uint8Array()],
    ['a header cut short', good.subarray(0, 30)],
    ['content cut short', good.subarray(0, good.length - 4)],
    ['a size that is no number', (() => new TextEncoder().encode(text(good).replace('7         `', '-1        `')))()],
    ['no header mark', (() => new TextEncoder().encode(text(good).replace('`\n', 'xx')))()],
  ];
  test.each(cases)('%s', (_what, data) => {
    expect(() => [...readAr('x.deb', data)]).toThrow(VmError);
    expect(() => [...readAr('x.deb', data)]).toThrow(/^x\.deb: /);
  });
});
