import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { VmError } from '../base/errors.ts';
import { Messages } from './messages.ts';
import { Patience } from './patience.ts';
import { FakeStream, FakeTerminal } from './testing/fakes.ts';

const away = () => Promise.reject(new VmError('network', 'the server refuses connections'));

function patience(attended: boolean) {
  const [terminal, errors, abort] = [new FakeTerminal(), new FakeStream(), new AbortController()];
  terminal.inputIsTerminal = terminal.outputIsTerminal = attended;
  const pauses: number[] = [];
  const clock = { nowMs: () => 0, sleep: (ms: number) => (pauses.push(ms), sleep(0)) };
  const host = { messages: new Messages(errors, {}), clock, signal: abort.signal, terminal };
  return { one: new Patience(host, 'http://there'), errors, abort, pauses };
}

test('what comes at last is told once, and that it came', async () => {
  const { one, errors, pauses } = patience(true);
  let attempt = 0;
  expect(await one.for(() => (attempt++ < 20 ? away() : Promise.resolve('it')))).toBe('it');
  expect(errors.text).toBe(
    'waiting for http://there: the server refuses connections; what it has goes on when it comes\nhttp://there answers again\n',
  );
  expect([pauses.length, pauses[0], pauses.at(-1)]).toEqual([20, 1000, 10_000]);
});

test('a server that says nothing is told of after some seconds, and who stops does not wait for it', async () => {
  vi.useFakeTimers();
  try {
    const { one, errors, abort } = patience(true);
    const waiting = expect(one.for(() => new Promise(() => {}))).rejects.toMatchObject({ code: 'cancelled' });
    await vi.advanceTimersByTimeAsync(4900);
    expect(errors.text).toBe('');
    await vi.advanceTimersByTimeAsync(200);
    expect(errors.text).toContain('waiting for http://there: it does not answer');
    abort.abort('SIGINT');
    await waiting;
  } finally {
    vi.useRealTimers();
  }
});

test('where nobody looks on, and for what else goes wrong, it ends with the reason', async () => {
  const { one, pauses } = patience(false);
  await expect(one.for(away)).rejects.toThrow('the server refuses connections');
  expect(pauses.reduce((sum, pause) => sum + pause, 0)).toBeGreaterThan(60_000);
  let calls = 0;
  const damaged = one.for(() => (calls++, Promise.reject(new VmError('bad-digest', 'damaged'))));
  await expect(damaged).rejects.toThrow('damaged');
  expect(calls).toBe(1);
});

test('what begins after the end has one try', async () => {
  const { one, abort, pauses } = patience(true);
  abort.abort('SIGTERM');
  expect(await one.for(async () => 'it')).toBe('it');
  await expect(one.for(away)).rejects.toThrow('refuses');
  expect(pauses).toEqual([]);
});
