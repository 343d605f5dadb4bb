/** Completion as a person has it: real shells at a real terminal, and the key Tab. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { buildDaybreak } from '../boot/daybreak.ts';

const directory = mkdtempSync(join(tmpdir(), 'db-'));
const ENVIRONMENT = {
  PATH: `${directory}/bin:${process.env['PATH'] ?? ''}`,
  HOME: directory,
  LANG: 'C.UTF-8',
  TERM: 'vt100',
  XDG_DATA_HOME: join(directory, 'data'),
  XDG_STATE_HOME: join(directory, 'state'),
  XDG_RUNTIME_DIR: directory,
};
const TIMEOUT_MS = 300_000;

beforeAll(() => {
  buildDaybreak();
  mkdirSync(join(directory, 'bin'));
  const run = `exec '${process.execPath}' '${resolve('dist/daybreak.js')}' "$@"`;
  writeFileSync(join(directory, 'bin/daybreak'), `#!/bin/sh\n${run}\n`, { mode: 0o755 });
  // Names with what shells split words at.
  mkdirSync(join(directory, 'state/daybreak'), { recursive: true });
  mkdirSync(join(directory, 'data/daybreak/kept'), { recursive: true });
  writeFileSync(join(directory, 'state/daybreak/origins.json'), JSON.stringify({ 'arch/plasma': 'https://days.example.org/x' }));
  writeFileSync(join(directory, 'data/daybreak/kept/my.work-1.json'), '{}');
  writeFileSync(join(directory, 'vmlinuz of mine'), '');
  mkdirSync(join(directory, 'vm-directory'));
}, TIMEOUT_MS);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What has been typed, Tab included, and what the line then is. Words that are complete end with a space. */
const LINES: readonly (readonly [typed: string, line: string])[] = [
  ['daybreak doc', 'daybreak doctor '],
  ['daybreak try --mem', 'daybreak try --memory '],
  ['daybreak try --accel int', 'daybreak try --accel interpreter '],
  ['daybreak try --accel=int', 'daybreak try --accel=interpreter '],
  ['daybreak rm my', 'daybreak rm my.work-1 '],
  ['daybreak try arch/p', 'daybreak try arch/plasma '],
  ['daybreak pull --from https://d', 'daybreak pull --from https://days.example.org/x '],
  ['daybreak pull --from https:', 'daybreak pull --from https://days.example.org/x '],
];

/** Skips the test, saying so, where the program is not there. */
function need(context: TestContext, program: string): void {
  if (spawnSync(program, ['--version']).error === undefined) return;
  const reason = `there is no ${program} here`;
  console.warn(`skipped: ${reason}`);
  context.skip(reason);
}

/** A shell at a terminal of its own, by util-linux's script. */
class Shell {
  readonly #child;
  #output = '';

  constructor(command: string) {
    this.#child = spawn('script', ['-qfec', command, '/dev/null'], { cwd: directory, env: ENVIRONMENT });
    this.#child.stdout.on('data', (data: Buffer) => (this.#output += data.toString()));
    this.#child.stderr.on('data', (data: Buffer) => (this.#output += data.toString()));
  }

  async run(line: string): Promise<void> {
    const seen = this.#output.length;
    this.#child.stdin.write(`${line}; echo "<<""done>>"\r`);
    await this.#until(/<<done>>/, seen);
  }

  /** Types a line, Tab, and the key that shows the line as the shell has it, and empties it. */
  async completed(typed: string): Promise<string> {
    const seen = this.#output.length;
    this.#child.stdin.write(`${typed}\t\u0014`);
    return this.#until(/<<([^<>]*)>>/, seen);
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'close');
  }

  async #until(pattern: RegExp, from: number): Promise<string> {
    await expect.poll(() => this.#output.slice(from), { timeout: 60_000 }).toMatch(pattern);
    const [all, group] = pattern.exec(this.#output.slice(from))!;
    return group ?? all;
  }
}

const FILES = (quoted: string): typeof LINES => [
  ['daybreak boot --kernel vmlin', `daybreak boot --kernel ${quoted} `],
  ['daybreak boot --kernel=vmlin', `daybreak boot --kernel=${quoted} `],
  ['daybreak serve vm', 'daybreak serve vm-directory/'],
];

/** Each shell, how it is started bare, and what makes Ctrl-T show its line between `<<` and `>>`. */
test.for([
  [
    'bash',
    '--norc --noprofile -i',
    `bind -x '"\\C-t": printf "<<%s>>" "$READLINE_LINE"; READLINE_LINE='; eval "$(daybreak completion bash)"`,
    FILES(String.raw`vmlinuz\ of\ mine`),
  ],
  [
    'zsh',
    '-f -i',
    `autoload -Uz compinit; compinit -u -D; shown() { print -rn -- "<<$BUFFER>>"; BUFFER= }; zle -N shown; bindkey '^T' shown; eval "$(daybreak completion zsh)"`,
    FILES(String.raw`vmlinuz\ of\ mine`),
  ],
  [
    'fish',
    '--no-config -i',
    `function shown; printf '<<%s>>' (commandline); commandline ''; end; bind \\ct shown; daybreak completion fish | source`,
    FILES(String.raw`vmlinuz\ of\ mine`),
  ],
] as const)('Tab in %s', { timeout: TIMEOUT_MS }, async ([shell, options, setUp, files], context) => {
  need(context, 'script');
  need(context, shell);
  const session = new Shell(`${shell} ${options}`);
  try {
    await session.run(setUp);
    const found: (readonly [string, string])[] = [];
    for (const [typed] of [...LINES, ...files]) found.push([typed, await session.completed(typed)]);
    expect(found).toEqual([...LINES, ...files]);
  } finally {
    await session.end();
  }
});
