import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { main } from './main.ts';
import { testHost, type FakeMachine } from './testing/fakes.ts';
import { USAGES, VERB_NAMES } from './usage/table.ts';

/** A busy computer takes its time. */
const PATIENCE = { timeout: 30_000 };

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'db-'));
  return () => rmSync(directory, { recursive: true, force: true });
});

/** What a shell is answered: words, and which paths besides. */
async function complete(...words: string[]): Promise<string[]> {
  const { host, terminal, errors } = testHost(directory);
  // What the publisher of these tests has built is what is on this computer.
  expect(await main({ ...host, dataDirectory: `${directory}/publisher` }, ['__complete', ...words])).toBe(0);
  expect(errors.text).toBe('');
  return terminal.output
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t')[0]!);
}

describe('completion', () => {
  test('offers the verbs, with what they do', async () => {
    expect(await complete('')).toEqual([...VERB_NAMES, ':none']);
    expect(await complete('pu')).toEqual(['pull', 'publish', ':none']);
    expect(await complete('help', 'do')).toEqual(['doctor', ':none']);
    expect(await complete('--v')).toEqual(['--version', ':none']);
    expect(await complete()).toEqual([...VERB_NAMES, ':none']);
    const { host, terminal } = testHost(directory);
    await main(host, ['__complete', 'doc']);
    expect(terminal.output).toBe('doctor\tsay whether machines can run on KVM here\n:none\n');
  });

  test.each(VERB_NAMES)('offers all options of %s, and each once', async (verb) => {
    const options = Object.keys(USAGES[verb].options);
    expect(await complete(verb, '--')).toEqual([...options.map((name) => `--${name}`), '--help', ':none']);
    for (const [name, usage] of Object.entries(USAGES[verb].options)) {
      const again = await complete(verb, ...('value' in usage ? [`--${name}=x`] : [`--${name}`]), `--${name}`);
      expect(again.includes(`--${name}`)).toBe('multiple' in usage);
    }
  });

  test('offers the values of options', async () => {
    expect(await complete('try', '--accel', '')).toEqual(['auto', 'jit', 'interpreter', 'kvm', ':none']);
    expect(await complete('try', '--accel=j')).toEqual(['--accel=jit', ':none']);
    expect(await complete('boot', '--kernel', '')).toEqual([':files']);
    expect(await complete('boot', '--kernel=')).toEqual([':files']);
    expect(await complete('publish', '--keys', '')).toEqual([':directories']);
    expect(await complete('publish', '--rotate', 't')).toEqual(['targets', 'timestamp', ':none']);
    expect(await complete('try', '--memory', '')).toEqual([':none']);
    expect(await complete('list', '--json=')).toEqual([':none']);
  });

  test('offers snapshots by name and day, those that come from elsewhere, recipes, and places', async () => {
    const publisher = new TestPublisher(directory);
    for (const [name, day] of [['debian', '2026-11-01'], ['debian', '2026-11-02'], ['mine', '2026-11-01']] as const) await publisher.snapshot(name, day, { a: day }); // prettier-ignore
    mkdirSync(`${directory}/state`);
    writeFileSync(`${directory}/state/origins.json`, JSON.stringify({ mine: '/a b', arch: 'https://days.example.org' }));
    const local = ['debian', 'mine', 'debian@2026-11-02', 'debian@2026-11-01', 'mine@2026-11-01'];
    expect(await complete('info', '')).toEqual([...local, ':none']);
    expect(await complete('try', '')).toEqual([...local, 'arch', ':none']);
    expect(await complete('diff', 'debian@-1', 'debian@')).toEqual(['debian@2026-11-02', 'debian@2026-11-01', ':none']);
    expect(await complete('diff', 'debian@-1', 'debian', '')).toEqual([':none']);
    // A name that a shell would have to quote is not offered.
    expect(await complete('pull', '--from', '')).toEqual(['https://days.example.org', ':directories']);
    expect(await complete('build', 'debian/')).toEqual(['debian/experimental', 'debian/kde', 'debian/trixie', ':files']);
  });

  test('offers machines that run, once, and those that are kept', async () => {
    const machines: FakeMachine[] = [];
    const { host } = testHost(directory, (machine) => machines.push(machine));
    writeFileSync(join(directory, 'k'), 'K');
    const ended = ['one', 'two'].map((name) => main(host, ['boot', '--kernel', join(directory, 'k'), '--name', name]));
    await expect.poll(() => machines.length, PATIENCE).toBe(2);
    expect((await complete('stop', '')).toSorted()).toEqual([':none', 'one', 'two']);
    expect(await complete('stop', 'one', '')).toEqual(['two', ':none']);
    expect(await complete('keep', 't')).toEqual(['two', ':none']);
    for (const machine of machines) machine.end({ kind: 'poweroff' });
    await Promise.all(ended);
    mkdirSync(`${directory}/publisher/kept`, { recursive: true });
    writeFileSync(`${directory}/publisher/kept/work.json`, '{}');
    expect(await complete('rm', '')).toEqual(['work', ':none']);
    expect(await complete('rm', 'work', '')).toEqual([':none']);
    expect(await complete('try', '--keep', 'w')).toEqual(['work', ':none']);
  });

  test('says nothing where there is nothing to say: unknown verbs, commands for the guest', async () => {
    expect(await complete('fly', '')).toEqual([':none']);
    expect(await complete('constructor', '')).toEqual([':none']);
    expect(await complete('try', 'debian', '--', '')).toEqual([':none']);
    expect(await complete('ps', '')).toEqual([':none']);
  });
});

test('completion prints a script for shells that it knows, and no other', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { host, terminal } = testHost(directory);
    expect(await main(host, ['completion', shell])).toBe(0);
    expect(terminal.output).toContain('__complete');
  }
  for (const args of [[], ['tcsh'], ['constructor'], ['bash', 'zsh']]) {
    const { host, errors } = testHost(directory);
    expect(await main(host, ['completion', ...args])).toBe(2);
    expect(errors.text).toContain('expected one of bash, zsh, fish');
  }
});
