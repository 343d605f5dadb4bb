import { beforeEach, describe, expect, test } from 'vitest';
import { formatBytes, Messages } from './messages.ts';
import { FakeStream } from './testing/fakes.ts';

let stream: FakeStream;
let now: number;

beforeEach(() => {
  stream = new FakeStream();
  now = 0;
});

const messages = (environment = {}) => new Messages(stream, environment, () => now);

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [12_345_678, '12.3 MB'],
  [123_456_789, '123 MB'],
  [999_999, '1.0 MB'],
  [5e9, '5.0 GB'],
])('%d bytes are shown as %s', (count, text) => {
  expect(formatBytes(count)).toBe(text);
});

describe('on a terminal', () => {
  beforeEach(() => {
    stream.isTTY = true;
  });

  test('a bar shows part, amount and speed', () => {
    const out = messages({ NO_COLOR: '1' });
    out.progress({ step: 'packages', done: 0, total: 10_000_000, unit: 'bytes' });
    now = 1000;
    out.progress({ step: 'packages', done: 2_500_000, total: 10_000_000, unit: 'bytes' });
    expect(stream.text).toMatch(/packages +━{6}─{18} {2}25 % {2}2\.5 MB of 10\.0 MB {2}2\.5 MB\/s\x1b\[K$/);
  });

  test('the bar is not drawn more often than people can see', () => {
    const out = messages();
    for (let done = 0; done < 1000; done++) out.progress({ step: 'x', done, total: 1000, unit: 'items' });
    expect(stream.text.split('\r').length).toBeLessThan(4);
  });

  test('a message takes the bar away first', () => {
    const out = messages({ NO_COLOR: '1' });
    out.progress({ step: 'x', done: 1, total: 2, unit: 'items' });
    stream.text = '';
    out.line('note');
    expect(stream.text).toBe('\r\x1b[Knote\r\n');
  });

  test('NO_COLOR means no colours', () => {
    messages({ NO_COLOR: '1' }).log('warn', 'x', 'careful');
    expect(stream.text).toBe('warning: careful\r\n');
    messages().log('warn', 'x', 'careful');
    expect(stream.text).toContain('\x1b[33mwarning:\x1b[0m');
  });

  test('a narrow terminal gets a short line', () => {
    stream.columns = 40;
    messages().progress({ step: 'packages', done: 1, total: 2, unit: 'items' });
    expect(stream.text).toBe('\rpackages 50 %\x1b[K');
  });
});

test('without a terminal each step is one line when it is complete', () => {
  const out = messages();
  for (const done of [0, 500, 1000]) out.progress({ step: 'index', done, total: 1000, unit: 'bytes' });
  out.transient('starting…');
  expect(stream.text).toBe('index: 1.0 kB of 1.0 kB\n');
});

test('control characters in a message do not reach the terminal', () => {
  messages().error('server says \x1b]0;evil\x07 and \x1b[2J\r!');
  expect(stream.text).toBe('daybreak: server says ?]0;evil? and ?[2J?!\n');
});
