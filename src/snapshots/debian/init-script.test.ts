import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { INIT_SCRIPT } from './init-script.ts';
import { runArchive } from './run-archive.ts';

const hasPerl = spawnSync('perl', ['-v']).status === 0;

test.skipIf(!hasPerl)('process 1 compiles as Perl without a warning', () => {
  const { status, stderr } = spawnSync('perl', ['-wc'], { input: INIT_SCRIPT, encoding: 'utf8' });
  expect(stderr).toBe('- syntax OK\n');
  expect(status).toBe(0);
});

test('a command’s words reach the guest as they are, NUL between them', async () => {
  const text = new TextDecoder().decode(await runArchive({ command: ['sh', '-c', 'echo "a b"', '', 'é\n'] }));
  expect(text).toContain('run/daybreak/command\0');
  expect(text).toContain('sh\0-c\0echo "a b"\0\0é\n\0');
});

test('a terminal type that is none is not passed on', async () => {
  expect(new TextDecoder().decode(await runArchive({ term: 'xterm-256color' }))).toContain('xterm-256color\n');
  expect(new TextDecoder().decode(await runArchive({ term: '../../etc/passwd' }))).not.toContain('passwd');
});

test('the archive is a whole number of words, so that another may follow', async () => {
  for (const term of ['a', 'ab', 'abc', 'abcd']) expect((await runArchive({ term })).length % 4).toBe(0);
});
