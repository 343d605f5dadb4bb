import { expect, test } from 'vitest';
import { OutputBuffer } from './output.ts';

function collect(): { buffer: OutputBuffer; pieces: string[]; due: (() => void)[] } {
  const pieces: string[] = [];
  const due: (() => void)[] = [];
  const buffer = new OutputBuffer(
    (flush) => due.push(flush),
    (data) => pieces.push(new TextDecoder().decode(data)),
  );
  return { buffer, pieces, due };
}
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('bytes printed one after the other become one piece, later', () => {
  const { buffer, pieces, due } = collect();
  for (const letter of 'hello') buffer.write(bytes(letter));
  expect(pieces).toEqual([]);
  expect(due).toHaveLength(1);
  due[0]!();
  expect(pieces).toEqual(['hello']);
  buffer.write(bytes('!'));
  due[1]!();
  expect(pieces).toEqual(['hello', '!']);
});

test('nothing printed is no piece, also when it was flushed before it was due', () => {
  const { buffer, pieces, due } = collect();
  buffer.write(bytes(''));
  expect(due).toEqual([]);
  buffer.write(bytes('x'));
  buffer.flush();
  due[0]!();
  expect(pieces).toEqual(['x']);
});

test('a lot at once arrives whole and in order, whatever becomes of the bytes given', () => {
  const { buffer, pieces, due } = collect();
  const text = Array.from({ length: 5000 }, (_, n) => n).join(' ');
  buffer.write(bytes('<'));
  const given = bytes(text);
  buffer.write(given);
  given.fill(0);
  buffer.write(bytes('>'));
  due[0]!();
  expect(pieces).toEqual([`<${text}>`]);
});
