import { describe, expect, test } from 'vitest';
import { parseCpus, parseMemory, parseVerb } from './arguments.ts';
import { xdgDirectory } from './host.ts';

const OPTIONS = { mirror: { type: 'string' }, strict: { type: 'boolean' } } as const;

describe('parseVerb', () => {
  test('keeps what stands behind -- as it is', () => {
    const parsed = parseVerb('try', ['debian', '--strict', '--', 'sh', '-c', '--', '--mirror'], OPTIONS);
    expect(parsed).toEqual({ values: { strict: true }, positionals: ['debian'], command: ['sh', '-c', '--', '--mirror'] });
  });

  test.each([[['--what']], [['--mirror']], [['--strict=yes']]])('%j is a usage error that names the verb', (args) => {
    expect(() => parseVerb('try', args, OPTIONS)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringMatching(/^try: .*daybreak try --help/) }),
    );
  });
});

describe('parseCpus', () => {
  test('takes a number of processors', () => {
    expect([parseCpus('1'), parseCpus('64')]).toEqual([1, 64]);
  });

  test.each(['0', '65', '-1', '2.5', 'two', ''])('%j is a usage error', (text) => {
    expect(() => parseCpus(text)).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringContaining('from 1 to 64') }));
  });
});

describe('parseMemory', () => {
  test.each([
    ['512', 512 * 2 ** 20],
    ['512M', 512 * 2 ** 20],
    ['2G', 2 ** 31],
    ['2GiB', 2 ** 31],
    ['65536k', 64 * 2 ** 20],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseMemory(text)).toBe(bytes);
  });

  test.each(['', 'x', '-1', '1', '64G', '512T', '1e9', '0x200'])('%j is a usage error', (text) => {
    expect(() => parseMemory(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

test('a relative XDG directory is ignored', () => {
  expect(xdgDirectory('/x', '/home/me/.cache')).toBe('/x/daybreak');
  expect(xdgDirectory('x', '/home/me/.cache')).toBe('/home/me/.cache/daybreak');
  expect(xdgDirectory(undefined, '/home/me/.cache')).toBe('/home/me/.cache/daybreak');
});
