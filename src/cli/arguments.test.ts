import { describe, expect, test } from 'vitest';
import { parseCpus, parseMemory, parseVerb } from './arguments.ts';
import { xdgDirectory } from './host.ts';
import type { Usage } from './usage/usage.ts';

const USAGE: Usage = {
  summary: [],
  synopsis: [],
  about: '',
  operands: ['anything'],
  command: true,
  options: { mirror: { value: 'URL', about: '' }, disk: { value: 'FILE', multiple: true, about: '' }, strict: { about: '' } },
};

describe('parseVerb', () => {
  test('keeps what stands behind -- as it is', () => {
    const parsed = parseVerb('try', ['debian', '--strict', '--', 'sh', '-c', '--', '--mirror'], USAGE);
    expect(parsed).toEqual({ values: { strict: true }, positionals: ['debian'], command: ['sh', '-c', '--', '--mirror'] });
  });

  test('collects what may be given several times', () => {
    expect(parseVerb('boot', ['--disk', 'a', '--disk=b'], USAGE).values).toEqual({ disk: ['a', 'b'] });
  });

  test.each([[['--what']], [['--mirror']], [['--strict=yes']]])('%j is a usage error that names the verb', (args) => {
    expect(() => parseVerb('try', args, USAGE)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringMatching(/^try: .*daybreak try --help/) }),
    );
  });

  test('says which option was meant', () => {
    expect(() => parseVerb('try', ['--miror', 'x'], USAGE)).toThrow(
      "try: Unknown option '--miror' (did you mean --mirror? daybreak try --help)",
    );
    expect(() => parseVerb('try', ['--zebra'], USAGE)).toThrow("try: Unknown option '--zebra' (daybreak try --help)");
  });

  test('a command behind -- is for verbs that take one', () => {
    const { command: _, ...without } = USAGE;
    expect(() => parseVerb('list', ['--', 'ls'], without)).toThrow('list: it takes no command behind --');
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
