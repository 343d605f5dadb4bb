import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../machine/testing/random.ts';
import { BLOCK, FileContent, PAGE } from './file-content.ts';
import { Quota } from './quota.ts';

const base = Uint8Array.from({ length: 3 * BLOCK + 1234 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);

function bytesOf(content: FileContent, offset = 0, length = content.sizeBytes): Uint8Array {
  const result = new Uint8Array(Math.max(0, Math.min(length, content.sizeBytes - offset)));
  let next = 0;
  const count = content.read(offset, length, base, (at, bytes) => {
    if (at !== next) expect.fail('the bytes have to come in order, without gaps');
    next += bytes.length;
    result.set(bytes, at);
  });
  expect(next).toBe(count);
  return result;
}

const overBase = (quota = new Quota(2 ** 30)): FileContent => new FileContent(quota, { digest: 'x', sizeBytes: base.length });

test.each([
  ['a new file', false],
  ['a file of the tree', true],
])('%s reads as an array of bytes does, whatever is done to both', (_, below) => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seededRandom(seed);
    const quota = new Quota(2 ** 30);
    const content = below ? overBase(quota) : new FileContent(quota);
    let model = below ? base.slice() : new Uint8Array(0);
    for (let i = 0; i < 60; i++) {
      const offset = random(random(2) ? 5 * BLOCK : 3 * PAGE);
      const length = 1 + random([10, PAGE, 3 * PAGE, 2 * BLOCK][random(4)]!);
      switch (random(4)) {
        case 0: {
          const grown = new Uint8Array(Math.max(model.length, offset + length));
          grown.set(model);
          grown.fill(i + 1, offset, offset + length);
          model = grown;
          const bytes = content.changeNeedsBase(offset, length) ? base : undefined;
          expect(content.write(offset, length, bytes, (__, into) => into.fill(i + 1))).toBe(true);
          break;
        }
        case 1: {
          if (offset >= model.length) break;
          model.fill(0, offset, Math.min(model.length, offset + length));
          const within = Math.min(length, Math.ceil(model.length / PAGE) * PAGE - offset);
          const bytes = content.changeNeedsBase(offset, within) ? base : undefined;
          expect(content.punch(offset, within, bytes)).toBe(true);
          break;
        }
        case 2: {
          const changed = new Uint8Array(offset);
          changed.set(model.subarray(0, offset));
          model = changed;
          content.truncate(offset);
          break;
        }
        default:
          expect(Buffer.compare(bytesOf(content, offset, length), model.subarray(offset, offset + length))).toBe(0);
      }
      expect(content.sizeBytes).toBe(model.length);
    }
    expect(Buffer.compare(bytesOf(content), model), `seed ${seed}`).toBe(0);
    content.dispose();
    expect(quota.usedBytes).toBe(0);
  }
});

describe('a large file of the tree', () => {
  test('takes one block for a write of a page, and does not look at the content', () => {
    const quota = new Quota(2 ** 30);
    const content = new FileContent(quota, { digest: 'x', sizeBytes: 2 ** 40 });
    expect(content.changeNeedsBase(PAGE * 1_000_000, PAGE)).toBe(false);
    expect(content.write(PAGE * 1_000_000, PAGE, undefined, (_, into) => into.fill(1))).toBe(true);
    expect(quota.usedBytes).toBeLessThanOrEqual(BLOCK);
  });

  test('needs its content for a part of a page, but not behind its end', () => {
    const content = overBase();
    expect(content.changeNeedsBase(10, 20)).toBe(true);
    expect(content.changeNeedsBase(0, base.length)).toBe(false);
    expect(content.changeNeedsBase(base.length, 10)).toBe(true);
    expect(content.changeNeedsBase(Math.ceil(base.length / PAGE) * PAGE, 10)).toBe(false);
  });

  test('does not show again what was cut off', () => {
    const content = overBase();
    content.truncate(100);
    content.truncate(5000);
    expect(bytesOf(content)).toEqual(Uint8Array.from({ length: 5000 }, (_, i) => (i < 100 ? base[i]! : 0)));
  });
});

test('a write beyond the quota is refused and leaves the bytes that were there', () => {
  const content = new FileContent(new Quota(2 * BLOCK));
  expect(content.write(0, 3 * BLOCK, undefined, (_, into) => into.fill(9))).toBe(false);
  expect(content.sizeBytes).toBe(2 * BLOCK);
  expect(content.write(0, 1, undefined, (_, into) => into.fill(8))).toBe(true);
});

test('blocks are counted where bytes are, here or below', () => {
  const content = overBase();
  const pages = Math.ceil(base.length / PAGE);
  expect(content.allocatedBytes).toBe(pages * PAGE);
  content.punch(0, 4 * PAGE, undefined);
  expect(content.allocatedBytes).toBe((pages - 4) * PAGE);
  content.write(PAGE, PAGE, undefined, (_, into) => into.fill(1));
  expect(content.allocatedBytes).toBe((pages - 3) * PAGE);
  content.truncate(2 ** 40);
  expect(content.allocatedBytes).toBe((pages - 3) * PAGE);
});
