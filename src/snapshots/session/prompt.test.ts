import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PromptGate } from './prompt-gate.ts';
import { powerOffLine, promptLine } from './prompt-line.ts';

const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

function gate(stage: 'boot' | 'prompt', showBoot = false) {
  let shown = '';
  const events: string[] = [];
  const one = new PromptGate(
    {
      show: (data) => (shown += String.fromCharCode(...data)),
      nonce: 'abc',
      showBoot,
      onPrompt: () => events.push('prompt'),
      onBegin: () => events.push('begin'),
      onEnd: (status) => events.push(`end ${status}`),
    },
    stage,
  );
  return { take: (text: string) => one.take(bytes(text)), shown: () => shown, events };
}

describe('the gate', () => {
  test.each([1, 2, 3, 7, 1000])('shows only what runs, byte by byte as it was, in pieces of %i', (size) => {
    const { take, shown, events } = gate('boot');
    const output = 'zeros \0, \xff\x9f, \x1d\x1eabd, \x1eab\r\n';
    for (const all of ['boot\r\n\x1b[?2004hroot@x:~# ', `printf '\\035abc'\r\n\x1dabc${output}\x1eabc 42\r\nroot@x:~# `]) {
      for (let at = 0; at < all.length; at += size) take(all.slice(at, at + size));
    }
    expect(shown()).toBe(output);
    expect(events).toEqual(['prompt', 'begin', 'end 42']);
  });

  test('shows a boot to who wants it, up to the prompt', () => {
    const { take, shown, events } = gate('boot', true);
    take('Starting\r\n');
    take('# ');
    take('echo of our line');
    expect(shown()).toBe('Starting\r\n# ');
    expect(events).toEqual(['prompt']);
  });

  test.each([
    ['7\n', 'end 7'],
    ['255\r\n', 'end 255'],
    ['x\n', 'end 255'],
    ['1234', 'end 255'],
    ['\n', 'end 255'],
  ])('takes %j behind the mark for "%s"', (text, event) => {
    const { take, events } = gate('prompt');
    take('\x1dabc\x1eabc ');
    expect(events).toEqual(['begin']);
    take(text);
    take('more');
    expect(events).toEqual(['begin', event]);
  });

  test('shows what only looked like the beginning of a mark', () => {
    const { take, shown } = gate('prompt');
    take('\x1dabc\x1e');
    expect(shown()).toBe('');
    take('abd');
    expect(shown()).toBe('\x1eabd');
  });
});

/** What a bash prints that is given the line, which sets no clock here, and is told at the end to power off, which it only says. */
function bash(line: string): string {
  const input = `systemctl() { echo "systemctl $*"; }; export -f systemctl\n${line.replace(/date -us [^;]*;/, '')}${powerOffLine('abc')}`;
  return spawnSync('bash', ['--norc', '-s'], { input, stdio: ['pipe', 'pipe', 'ignore'] }).stdout.toString();
}

describe('the line', () => {
  const line = { nonce: 'abc', plain: false, resumed: false };

  test('gives a command its words as they are, and tells how it ended', () => {
    const words = ['a b', "it's", '$(x) `y` \\ "z"', '\t\x03\n', 'ü€', '', '-n', '!!'];
    const typed = promptLine({ ...line, command: ['printf', '[%s]', ...words] });
    // Nothing that a line editor would take for a key.
    expect(typed).toMatch(/^[ -~]*\n$/);
    const off = 'systemctl poweroff\n';
    expect(bash(typed)).toBe(`\x1dabc${words.map((word) => `[${word}]`).join('')}\x1eabc 0\n${off}`);
    expect(bash(promptLine({ ...line, command: ['false'] }))).toBe(`\x1dabc\x1eabc 1\n${off}`);
  });

  test('lets a shell tell how it ended', () => {
    expect(bash(`${promptLine(line)}echo hi\nexit 7\n`)).toBe('\x1dabchi\n\x1eabc 7\nsystemctl poweroff\n');
  });

  test('powers off when it is told so behind what ran, whatever input is still in the way', () => {
    const rest = 'left over\nsystemctl reboot\noff-ab\n';
    expect(bash(`${promptLine(line)}exit 7\n${rest}`)).toBe('\x1dabc\x1eabc 7\nsystemctl poweroff\n');
    expect(bash(`${promptLine({ ...line, command: ['false'] })}${rest}`)).toBe('\x1dabc\x1eabc 1\nsystemctl poweroff\n');
  });

  test('gives a machine that goes on a machine-id of its own, and its network cards a new start, before anything else runs', () => {
    const directory = mkdtempSync(join(tmpdir(), 'daybreak-prompt-'));
    try {
      const there = (path: string) => join(directory, path);
      mkdirSync(there('sys/bus/virtio/drivers/virtio_net/virtio3'), { recursive: true });
      mkdirSync(there('etc'));
      // Never those of the computer that runs the test.
      const typed = promptLine({ ...line, resumed: true }).replaceAll(/ (-s )?("?)\/(etc|sys\/bus)\//g, ` $1$2${directory}/$3/`);
      const local = typed.replaceAll('>/etc/', `>${directory}/etc/`).replace(/date -us [^;]*;/, '');
      expect(local).not.toMatch(/[ >]\/(etc|sys)\//);
      const run = () => bash(`${local}echo "[$x$d]"; exit 0\n`);
      const before = 'a'.repeat(32);
      writeFileSync(there('etc/machine-id'), `${before}\n`);
      expect(run()).toContain('\x1dabc[]\n');
      const ids = [readFileSync(there('etc/machine-id'), 'utf8')];
      run();
      ids.push(readFileSync(there('etc/machine-id'), 'utf8'));
      for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}\n$/);
      expect(new Set([before, ...ids]).size).toBe(3);
      for (const file of ['unbind', 'bind'])
        expect(readFileSync(there(`sys/bus/virtio/drivers/virtio_net/${file}`), 'utf8')).toBe('virtio3\n');
      // A system that has none makes one itself.
      writeFileSync(there('etc/machine-id'), '');
      run();
      expect(readFileSync(there('etc/machine-id'), 'utf8')).toBe('');
      expect(promptLine(line)).not.toContain('machine-id');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test('takes no terminal type that is none', () => {
    expect(promptLine({ ...line, term: 'xterm-256color' })).toContain('export TERM=xterm-256color;');
    expect(promptLine({ ...line, term: 'x; rm -rf /' })).not.toContain('TERM');
  });
});
