/** Runs `daybreak` as a person does: the built program, in a process of its own. */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { VCpuCounts } from '../../src/machine/vcpu.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Makes dist/ when sources are newer. */
export function buildDaybreak(): void {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the build failed: ${stderr}`);
}

export interface Ended {
  /** Exit status; undefined when a signal ended the process itself. */
  readonly status: number | undefined;
  /** The serial port's output. */
  readonly output: string;
  readonly errors: string;
  /** From `--stats`; undefined when it ended otherwise. */
  readonly instructions: number | undefined;
}

/** What to do when the guest has printed something: a signal to us, or `close`, which closes the pipe it prints to. */
export interface Reaction {
  readonly seen: RegExp;
  readonly action: 'SIGINT' | 'SIGTERM' | 'close';
}

/** A guest may print for an hour. */
const LOOKED_AT = 1 << 16;

/** @param input what is piped in; nothing if undefined */
export function boot(args: readonly string[], reaction?: Reaction, input?: Uint8Array): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['dist/daybreak.js', 'boot', '--stats', '--json', ...args], {
      cwd: ROOT,
      stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    // What a guest does not read cannot be written any more when it ends.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
    let output = '';
    let errors = '';
    let reacted = false;
    child.stdout!.setEncoding('latin1').on('data', (text: string) => {
      output += text;
      if (!reaction || reacted || !reaction.seen.test(output.slice(-LOOKED_AT))) return;
      reacted = true;
      if (reaction.action === 'close') child.stdout!.destroy();
      else child.kill(reaction.action);
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    child.on('close', (status) => {
      const stats = /^\{.*\}$/m.exec(errors)?.[0];
      const counts = stats === undefined ? undefined : (JSON.parse(stats) as VCpuCounts);
      resolve({ status: status ?? undefined, output, errors, instructions: counts?.instructions });
    });
    // A test that gives up takes its machine with it.
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.on('close', () => process.removeListener('exit', kill));
  });
}

/** A process of `daybreak`, which goes when the test's process goes. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  /** What it has printed so far, as one character a byte. */
  output(): string;
  errors(): string;
  readonly ended: Promise<{ readonly status: number | null; readonly output: string; readonly errors: string }>;
}

/** @param environment what differs from ours */
export function startDaybreak(args: readonly string[], environment: Readonly<Record<string, string>>): Running {
  const child = spawn(process.execPath, ['dist/daybreak.js', ...args], {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: '1', ...environment },
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.stdin.on('error', () => {});
  let output = '';
  let errors = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const ended = new Promise<Awaited<Running['ended']>>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      process.removeListener('exit', kill);
      resolve({ status, output, errors });
    });
  });
  return { child, output: () => output, errors: () => errors, ended };
}
