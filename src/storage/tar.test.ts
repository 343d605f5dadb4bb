import { describe, expect, test } from 'vitest';
import { concatBytes } from '../base/bytes.ts';
import { VmError } from '../base/errors.ts';
import { readTar } from './tar.ts';
import { bytesOf, makeTar, padded, tarHeader, withChecksum, type TestEntry } from './testing/archives.ts';

const END = new Uint8Array(1024);

function special(flag: string, content: string): Uint8Array {
  const data = bytesOf(content);
  return concatBytes([tarHeader({ path: 'meta', flag }, data.length), padded(data, 512)]);
}

function pax(records: Record<string, string>): string {
  return Object.entries(records)
    .map(([key, value]) => {
      const body = ` ${key}=${value}\n`;
      let length = bytesOf(body).length + 1;
      while (String(length).length + bytesOf(body).length !== length) length++;
      return length + body;
    })
    .join('');
}

const one = (data: Uint8Array) => [...readTar('t', data)][0]!;
const withEntry = (before: Uint8Array, entry: TestEntry) => concatBytes([before, makeTar([entry])]);

test('metadata, links and devices are read as written', () => {
  const entries = [
    ...readTar(
      't',
      makeTar([
        { path: './usr/', flag: '5', mode: 0o1777 },
        { path: './usr/f', content: 'data', mode: 0o4755, uid: 5, gid: 6, mtime: 1234 },
        { path: './l', flag: '2', target: 'usr/f' },
        { path: './h', flag: '1', target: './usr/f' },
        { path: './null', flag: '3', major: 1, minor: 3 },
      ]),
    ),
  ];
  expect(entries.map(({ type }) => type)).toEqual(['directory', 'file', 'symlink', 'link', 'char']);
  expect(entries[0]).toMatchObject({ mode: 0o1777 });
  expect(entries[1]).toMatchObject({ path: './usr/f', mode: 0o4755, uid: 5, gid: 6, mtime: 1234 });
  expect(new TextDecoder().decode(entries[1]!.data)).toBe('data');
  expect(entries[2]!.target).toBe('usr/f');
  expect(entries[4]).toMatchObject({ major: 1, minor: 3 });
});

test('GNU long names and link targets apply to the next entry only', () => {
  const long = 'd/'.repeat(100) + 'file';
  const archive = concatBytes([
    special('L', `${long}\0`),
    special('K', `${long}-target\0`),
    makeTar([
      { path: 'short', flag: '2', target: 'x' },
      { path: 'after', content: '' },
    ]),
  ]);
  const [first, second] = [...readTar('t', archive)];
  expect(first).toMatchObject({ path: long, target: `${long}-target` });
  expect(second!.path).toBe('after');
});

test('pax records override the header, and extended attributes are kept', () => {
  const entry = one(
    withEntry(special('x', pax({ path: 'ünï/code', uid: '70000', mtime: '99.75', 'SCHILY.xattr.user.k': 'v' })), {
      path: 'x',
      content: 'c',
    }),
  );
  expect(entry).toMatchObject({ path: 'ünï/code', uid: 70000, mtime: 99 });
  expect(new TextDecoder().decode(entry.xattrs.get('user.k'))).toBe('v');
});

test('a ustar prefix is put before the name', () => {
  const header = tarHeader({ path: 'name' }, 0);
  header.set(bytesOf('some/prefix'), 345);
  expect(one(concatBytes([withChecksum(header), END])).path).toBe('some/prefix/name');
});

test('base-256 numbers are read', () => {
  const header = tarHeader({ path: 'x' }, 0);
  header.set([0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78], 108);
  expect(one(concatBytes([withChecksum(header), END])).uid).toBe(0x12345678);
});

describe('refused, naming the file', () => {
  const good = makeTar([{ path: 'a', content: 'content' }]);
  const damaged = (change: (data: Uint8Array) => void, sum = true) => {
    const data = good.slice();
    change(data);
    if (sum) withChecksum(data.subarray(0, 512));
    return data;
  };
  const cases: [string, Uint8Array][] = [
    ['a wrong checksum', damaged((data) => (data[0] = 0x62), false)],
    ['content cut short', good.subarray(0, 600)],
    ['no end mark', good.subarray(0, 1024)],
    ['a size that is no number', damaged((data) => data.set(bytesOf('9zz'), 124))],
    ['a size beyond all archives', damaged((data) => data.set([0x80, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 124))],
    ['a negative size', damaged((data) => data.fill(0xff, 124, 136))],
    ['an unknown type', damaged((data) => (data[156] = 0x5a))],
    ['a sparse file', damaged((data) => (data[156] = 0x53))],
    ['a pax record longer than its header', withEntry(special('x', '99 path=x\n'), { path: 'a' })],
    ['a pax record without a length', withEntry(special('x', 'path=x\n'), { path: 'a' })],
    ['a pax size that lies', withEntry(special('x', pax({ size: '1e15' })), { path: 'a' })],
  ];
  test.each(cases)('%s', (_what, data) => {
    expect(() => [...readTar('t.tar', data)]).toThrow(VmError);
    expect(() => [...readTar('t.tar', data)]).toThrow(/^t\.tar: /);
  });
});

test('random damage gives entries or a VmError, never another failure', () => {
  const good = makeTar([
    { path: 'a', content: 'content' },
    { path: 'b', flag: '2', target: 'a' },
  ]);
  let seed = 1;
  const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) / 2 ** 32;
  for (let round = 0; round < 3000; round++) {
    const data = good.slice();
    for (let i = 0; i < 4; i++) data[Math.floor(random() * 1100)] = Math.floor(random() * 256);
    if (round % 2) withChecksum(data.subarray(0, 512));
    try {
      for (const entry of readTar('t', data)) expect(entry.data.length).toBeLessThanOrEqual(data.length);
    } catch (error) {
      expect(error).toBeInstanceOf(VmError);
    }
  }
});
