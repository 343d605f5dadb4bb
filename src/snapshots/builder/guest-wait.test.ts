import { describe, expect, test } from 'vitest';
import type { MachineEnd } from '../../machine/machine.ts';
import { ConsoleTail } from './console-tail.ts';
import { within, type GuestWait } from './guest-wait.ts';
import type { BuildHost, BuildMachine } from './host.ts';

const PROMPT: GuestWait = { wanted: "the root shell's prompt", failsAtRest: true };
const COMMAND: GuestWait = { wanted: 'the end of "sleep 900"', failsAtRest: false };

/** A guest that prints, works and ends at given seconds, under a clock that is always right. */
interface Play {
  readonly prints?: Readonly<Record<number, string>>;
  /** Until then it executes a hundred million instructions a second. */
  readonly worksUntil?: number;
  readonly ends?: readonly [atSecond: number, how: MachineEnd];
  readonly doneAt?: number;
}

async function waited(play: Play, wait: GuestWait, signal?: AbortSignal) {
  const tail = new ConsoleTail();
  const said: string[] = [];
  let seconds = 0;
  let resolve!: (result: string) => void;
  let end!: (how: MachineEnd) => void;
  const work = new Promise<string>((done) => (resolve = done));
  const machine = {
    stats: () => ({ instructions: 1e8 * Math.min(seconds, play.worksUntil ?? 0) }),
    ended: new Promise<MachineEnd>((done) => (end = done)),
  } as unknown as BuildMachine;
  const host = {
    clock: {
      nowMs: () => seconds * 1000,
      async sleep(ms: number) {
        for (const to = seconds + ms / 1000; seconds < to;) {
          seconds++;
          const text = play.prints?.[seconds];
          if (text !== undefined) tail.take(new TextEncoder().encode(text));
          if (play.doneAt === seconds) resolve('done');
          if (play.ends?.[0] === seconds) end(play.ends[1]);
        }
        await new Promise((wake) => setTimeout(wake, 0));
      },
    },
    log: (_level: string, _component: string, text: string) => said.push(text),
    ...(signal && { signal }),
  } as unknown as BuildHost;
  const result = await within(host, machine, tail, wait, work).catch((error: unknown) => error as Error);
  return { said, seconds, result: typeof result === 'string' ? result : result.message };
}

describe('waiting for a guest', () => {
  test('says what it waits for and what was printed last, ever more rarely', async () => {
    const { result, said } = await waited(
      {
        worksUntil: 900,
        prints: { 100: 'Loading \x1b[1mmodules\x1b[0m\r\n', 101: '\x1b]0;x\x07\x1bP+q6E616D65\x1b\\\x1b[18t\x1b7\x1b[!p' },
        doneAt: 500,
      },
      PROMPT,
    );
    expect(result).toBe('done');
    expect(said).toEqual([
      "still waiting for the root shell's prompt, 60 s so far; the machine has printed nothing so far",
      "still waiting for the root shell's prompt, 120 s so far; its last line: Loading modules",
      "still waiting for the root shell's prompt, 240 s so far; its last line: Loading modules",
      "still waiting for the root shell's prompt, 480 s so far; its last line: Loading modules",
    ]);
  });

  test.each([
    ['Debian GNU/Linux forky daybreak hvc0\r\n\r\ndaybreak login: ', 'asks who wants to log in', 'autologin.conf'],
    ['Give root password for maintenance\r\n(or press Control-D to continue): ', 'emergency mode', '/etc/fstab'],
    ['You are in emergency mode. After logging in, type "journalctl -xb"\r\n\r\nPress Enter to continue.', 'emergency mode', '/etc/fstab'],
    ['Welcome\r\nuser@daybreak:~$ ', "not root's", 'autologin.conf'],
  ])('gives up soon when the guest rests at %j', async (text, means, help) => {
    const { result, seconds } = await waited({ worksUntil: 20, prints: { 20: text } }, PROMPT);
    expect(result).toMatch(/^the machine does not come to the root shell's prompt: /);
    for (const one of [means, help, text.trim().split('\r\n').at(-1)!]) expect(result).toContain(one);
    expect(seconds).toBeLessThanOrEqual(35);
  });

  test('gives a guest that works its time, whatever it has printed', async () => {
    expect((await waited({ worksUntil: 400, prints: { 20: 'daybreak login: ' }, doneAt: 390 }, PROMPT)).result).toBe('done');
  });

  test('gives a guest at rest longer than systemd gives a device, then gives up', async () => {
    expect((await waited({ worksUntil: 20, doneAt: 120 }, PROMPT)).result).toBe('done');
    const { result, seconds } = await waited({ worksUntil: 20, prints: { 3: 'Reached target\r\n' } }, PROMPT);
    expect(result).toMatch(/does nothing any more; .*--log FILE.* Its last words:\n {2}Reached target$/);
    expect(seconds).toBeLessThanOrEqual(210);
  });

  test('shows the beginning of a panic, not the end of its registers', async () => {
    const panic = `Kernel panic - not syncing: Fatal exception\r\n${'registers\r\n'.repeat(60)}`;
    const { result } = await waited({ prints: { 4: panic }, ends: [5, { kind: 'reset' }] }, PROMPT);
    expect(result).toMatch(/its kernel panicked; .*\n {2}Kernel panic - not syncing: Fatal exception\n {2}registers/);
    expect(result.split('\n').length).toBe(16);
  });

  test('lets a command sleep, but not for ever', async () => {
    expect((await waited({ doneAt: 900 }, COMMAND)).result).toBe('done');
    expect((await waited({}, COMMAND)).result).toMatch(/^the machine did not come to the end of "sleep 900" within 30 minutes/);
  });

  test.each([
    [
      'Kernel panic - not syncing: Requested init /usr/lib/systemd/systemd failed (error -2).',
      'finds no program to start; .*"systemd-sysv"',
    ],
    ['Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)', 'cannot mount its root; .*virtio-fs'],
    ['Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100', 'process 1 has ended; '],
    ['Kernel panic - not syncing: Fatal exception', 'its kernel panicked; '],
    ['Restarting system', 'it restarted[.] Its last words'],
  ])('says why a machine has ended: %s', async (text, why) => {
    const { result } = await waited({ prints: { 4: `${text}\r\n` }, ends: [5, { kind: 'reset' }] }, PROMPT);
    expect(result).toMatch(new RegExp(`^the machine ended before the root shell's prompt: .*${why}`));
    expect(result).toContain(text);
  });

  test('gives the error with which a machine failed', async () => {
    expect((await waited({ ends: [5, { kind: 'failed', error: new Error('a bug') }] }, PROMPT)).result).toBe('a bug');
  });

  test('ends when it is told so', async () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error('enough')), 5);
    expect((await waited({ worksUntil: 1e9 }, PROMPT, abort.signal)).result).toBe('enough');
  });
});
