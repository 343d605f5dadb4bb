import { PassThrough } from 'node:stream';
import { setImmediate as immediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { NodeTerminal } from './terminal.ts';

/** A terminal, and what arrives at its other end, write by write. */
function terminal(): { terminal: NodeTerminal; writes: string[] } {
  const output = new PassThrough();
  const writes: string[] = [];
  output.on('data', (data: Buffer) => writes.push(data.toString('latin1')));
  return { terminal: new NodeTerminal(new PassThrough(), output), writes };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('output to a terminal', () => {
  test('written byte by byte leaves in one piece', async () => {
    const { terminal: to, writes } = terminal();
    for (const letter of 'hello') to.write(bytes(letter));
    await immediate();
    await immediate();
    expect(writes).toEqual(['hello']);
  });

  test('is copied: the caller may use its buffer again', async () => {
    const { terminal: to, writes } = terminal();
    const data = bytes('a');
    to.write(data);
    data[0] = 0x62;
    to.write(data);
    await to.drained();
    expect(writes.join('')).toBe('ab');
  });

  test('does not pile up while nothing else gets its turn', () => {
    const { terminal: to, writes } = terminal();
    for (let n = 0; n < 100; n++) to.write(new Uint8Array(1000).fill(0x78));
    expect(writes.join('').length).toBeGreaterThan(80_000);
  });

  test('is out when it is drained', async () => {
    const { terminal: to, writes } = terminal();
    to.write(bytes('last words'));
    await to.drained();
    expect(writes).toEqual(['last words']);
  });
});
