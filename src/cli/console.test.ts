import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { attach, EscapeKey } from './console.ts';
import { FakeMachine, FakeTerminal } from './testing/fakes.ts';

let terminal: FakeTerminal;
let machine: FakeMachine;
let abort: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  terminal = new FakeTerminal();
  machine = new FakeMachine({ output: () => {} } as never);
  abort = new AbortController();
});

afterEach(() => {
  vi.useRealTimers();
});

const start = (ready?: Promise<void>) => attach(terminal, machine, { endOfInput: 'eof', signal: abort.signal, ...(ready && { ready }) });

describe('with a person at the terminal', () => {
  beforeEach(() => {
    terminal.inputIsTerminal = true;
  });

  test('keys and sizes reach the machine, Ctrl-C and Ctrl-D included', async () => {
    const end = start();
    terminal.type('ls\r\x03\x04');
    terminal.resizeTo({ columns: 120, rows: 40 });
    expect(machine.typed).toBe('ls\r\x03\x04');
    expect(machine.sizes).toEqual([{ columns: 120, rows: 40 }]);
    machine.end({ kind: 'poweroff' });
    expect(await end).toEqual({ machine: { kind: 'poweroff' }, by: 'guest' });
  });

  test('what a stuck guest does not read is dropped in the end, but the escape key is seen', async () => {
    const end = start();
    machine.untaken = 1 << 20;
    terminal.type('lost');
    expect([machine.typed, terminal.paused]).toEqual(['', false]);
    terminal.type('\x1dq');
    expect((await end).by).toBe('escape');
  });

  test('the escape key and q end the machine', async () => {
    const end = start();
    terminal.type('\x1d');
    terminal.type('q');
    expect(await end).toEqual({ machine: { kind: 'stopped' }, by: 'escape' });
  });

  test('the escape key and s save the machine and end it, where that is offered', async () => {
    const save = vi.fn(async () => true);
    const end = attach(terminal, machine, { endOfInput: 'eof', signal: abort.signal, save });
    terminal.type('\x1d');
    expect(terminal.output).toContain('s saves and quits');
    terminal.type('s');
    expect(await end).toEqual({ machine: { kind: 'stopped' }, by: 'escape' });
    expect([save.mock.calls.length, machine.typed]).toEqual([1, '']);
  });

  test('a machine that could not be saved goes on', async () => {
    const end = attach(terminal, machine, { endOfInput: 'eof', signal: abort.signal, save: async () => false });
    terminal.type('\x1dsls');
    await vi.advanceTimersByTimeAsync(1);
    expect(machine.typed).toBe('ls');
    machine.end({ kind: 'poweroff' });
    expect((await end).by).toBe('guest');
  });

  test('a signal saves first, and ends the machine though that fails', async () => {
    const save = vi.fn(async () => false);
    const end = attach(terminal, machine, { endOfInput: 'eof', signal: abort.signal, save });
    abort.abort('SIGTERM');
    expect([(await end).by, save.mock.calls.length]).toEqual(['signal', 1]);
  });

  test.each([
    ['a signal', () => abort.abort('SIGTERM'), 'signal'],
    ['a terminal that hangs up', () => terminal.endInput(), 'hangup'],
    ['output that nobody reads', () => terminal.closeOutput(), 'closed'],
  ] as const)('%s ends the machine, and the terminal is as it was', async (_what, act, by) => {
    const end = start();
    act();
    expect((await end).by).toBe(by);
    expect([terminal.rawEntered, terminal.rawLeft, terminal.attached]).toEqual([1, 1, false]);
  });

  test('a signal that came before ends it too', async () => {
    abort.abort('SIGINT');
    expect((await start()).by).toBe('signal');
  });
});

describe('with piped input', () => {
  test('it waits until the guest is ready, and then comes in order', async () => {
    let ready = (): void => {};
    const end = start(new Promise((resolve) => (ready = resolve)));
    terminal.type('one\n');
    expect(machine.typed).toBe('');
    ready();
    await vi.advanceTimersByTimeAsync(0);
    terminal.type('two\n');
    await vi.advanceTimersByTimeAsync(0);
    expect(machine.typed).toBe('one\ntwo\n');
    machine.stop();
    await end;
  });

  test('its end lasts: Ctrl-D again and again, until the machine ends', async () => {
    const end = start();
    terminal.type('x');
    terminal.endInput();
    await vi.advanceTimersByTimeAsync(0);
    expect(machine.typed).toBe('x\x04');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(machine.typed).toMatch(/^x\x04{4,20}$/);
    const before = machine.typed;
    machine.end({ kind: 'poweroff' });
    await end;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(machine.typed).toBe(before);
  });

  test('it is read no faster than the guest takes it, and its end comes after all of it', async () => {
    machine.untaken = 1;
    const end = start();
    terminal.type('first');
    await vi.advanceTimersByTimeAsync(60_000);
    expect([machine.typed, terminal.paused]).toEqual(['first', true]);
    terminal.type('on its way');
    terminal.endInput();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(machine.typed).toBe('first');
    machine.take();
    await vi.advanceTimersByTimeAsync(0);
    expect([machine.typed, terminal.paused]).toEqual(['firston its way\x04', false]);
    machine.stop();
    await end;
  });

  test('the escape key means nothing in it', async () => {
    const end = start();
    terminal.type('\x1dq');
    await vi.advanceTimersByTimeAsync(0);
    expect(machine.typed).toBe('\x1dq');
    machine.stop();
    await end;
  });
});

describe('the escape key', () => {
  const run = (...typed: string[]) => {
    let sent = '';
    let quit = 0;
    const key = new EscapeKey(
      (data) => (sent += new TextDecoder().decode(data)),
      () => quit++,
      () => {},
    );
    for (const text of typed) key.take(new TextEncoder().encode(text));
    return [sent, quit];
  };

  test('with q quits, and what follows is not sent', () => {
    expect(run('ab\x1dqcd')).toEqual(['ab', 1]);
    expect(run('\x1d', 'Q')).toEqual(['', 1]);
  });

  test('twice sends itself once', () => {
    expect(run('a\x1d\x1db')).toEqual(['a\x1db', 0]);
  });

  test('with another key goes on without it', () => {
    expect(run('a\x1d', 'xb')).toEqual(['ab', 0]);
  });
});
