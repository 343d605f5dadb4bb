import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { NodeFiles } from '../../node/files.ts';
import type { Handler } from './control-socket.ts';
import { LINE_MAX, type Answer, type MachineFacts, type Request } from './protocol.ts';
import { MachineRegistry, type RunningMachineEntry } from './registry.ts';

let directory: string;
let registry: MachineRegistry;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-run-'));
  registry = new MachineRegistry(new NodeFiles(), directory);
  return () => rmSync(directory, { recursive: true, force: true });
});

const FACTS: Omit<MachineFacts, 'name'> = { pid: process.pid, verb: 'try', of: 'debian@2026-11-01', startedMs: 1, kept: false };

/** What a process with a machine does. */
function claim(name: string, handler?: Handler) {
  return registry.claim({ name }, FACTS, handler ?? (async (_, answer) => answer({ kind: 'status', facts: { ...FACTS, name } })));
}

const namesOf = async () => (await registry.list()).map(({ facts }) => facts.name);

async function answers(entry: RunningMachineEntry, request: Request, patienceMs = 5000): Promise<Answer[]> {
  const found: Answer[] = [];
  for await (const answer of registry.ask(entry, request, patienceMs)) found.push(answer);
  return found;
}

/** A process that listens at a socket until it is killed: the file stays. */
async function killedListener(path: string): Promise<void> {
  const child = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log())`]);
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
  expect(existsSync(path)).toBe(true);
}

describe('a name', () => {
  test('belongs to one machine, until it is given back', async () => {
    const first = await claim('work');
    await expect(claim('work')).rejects.toThrow(`a machine named work runs already (process ${process.pid})`);
    expect(await namesOf()).toEqual(['work']);
    await first.release();
    expect([await namesOf(), readdirSync(directory)]).toEqual([[], []]);
    await (await claim('work')).release();
  });

  test('is made up where nobody gives one, and never twice, however many ask at once', async () => {
    const wanted = { base: 'debian', free: async (name: string) => name !== 'debian-3' };
    const claims = await Promise.all(Array.from({ length: 20 }, () => registry.claim(wanted, FACTS, async () => {})));
    const names = claims.map(({ name }) => name);
    expect(new Set(names).size).toBe(20);
    expect(names).toContain('debian');
    expect(names).not.toContain('debian-3');
    await Promise.all(claims.map((one) => one.release()));
    expect(readdirSync(directory)).toEqual([]);
  });

  test('can be changed for one that is free', async () => {
    const [work, other] = [await claim('work'), await claim('other')];
    await expect(work.rename('other')).rejects.toThrow('a machine named other runs already');
    expect(work.name).toBe('work');
    await work.rename('play');
    expect([work.name, await namesOf()]).toEqual(['play', ['other', 'play']]);
    await (await claim('work')).release();
    await Promise.all([work.release(), other.release()]);
  });

  test('does not leave the directory', async () => {
    writeFileSync(join(directory, '..escape.json'), '{}');
    expect(await namesOf()).toEqual([]);
    const facts = { ...FACTS, name: '../../etc/passwd' };
    const lying = await claim('work', async (_, answer) => answer({ kind: 'status', facts }));
    // What is no name is no answer.
    expect((await registry.find('work'))!.facts.name).toBe('work');
    await lying.release();
  });
});

describe('a machine whose process was killed', () => {
  const record = { socket: '0123456789abcdef', facts: { ...FACTS, name: 'work' } };

  beforeEach(async () => {
    await killedListener(join(directory, `${record.socket}.sock`));
    writeFileSync(join(directory, 'work.json'), JSON.stringify(record));
  });

  test('is not listed, and leaves nothing', async () => {
    expect(await namesOf()).toEqual([]);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('does not hold its name, however many want it at once', async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => claim('work')));
    const [got, ...more] = results.filter((one) => one.status === 'fulfilled');
    expect(more).toEqual([]);
    expect(await namesOf()).toEqual(['work']);
    await got!.value.release();
    expect(readdirSync(directory)).toEqual([]);
  });
});

test('what was only begun is removed, but not what somebody may just be making', async () => {
  await killedListener(join(directory, 'fedcba9876543210.sock'));
  const live = createServer().listen(join(directory, '1111111111111111.sock'));
  await once(live, 'listening');
  for (const name of ['work.json.1.2.new', 'work.json.12345678.old', 'young.json.1.2.new', 'other.txt'])
    writeFileSync(join(directory, name), '');
  for (const name of readdirSync(directory).filter((one) => !one.startsWith('young'))) utimesSync(join(directory, name), 1, 1);
  await registry.list();
  expect(readdirSync(directory)).toEqual(['1111111111111111.sock', 'other.txt', 'young.json.1.2.new']);
  live.close();
});

test('a record that is none is nobody’s machine, and is not touched', async () => {
  writeFileSync(join(directory, 'work.json'), '{"socket":"../../../x"}');
  expect(await namesOf()).toEqual([]);
  await expect(claim('work')).rejects.toThrow('work.json is there, and is none of ours');
  expect(existsSync(join(directory, 'work.json'))).toBe(true);
});

test('a directory whose path is too long for a socket is refused with what would work', async () => {
  registry = new MachineRegistry(new NodeFiles(), join(directory, 'x'.repeat(100)));
  await expect(claim('work')).rejects.toThrow('point XDG_RUNTIME_DIR at a directory with a shorter name');
});

describe('the control socket', () => {
  test('gives the answers as they come, and a refusal for what is wrong', async () => {
    const held = await claim('work', async (request, answer) => {
      if (request.do === 'keep') throw new Error('not this one');
      answer({ kind: 'pressed', listens: true });
      answer({ kind: 'ended', how: 'poweroff', forced: false, kept: false });
    });
    const entry = { facts: { ...FACTS, name: 'work' }, silent: false, socket: join(directory, socketIn(directory)) };
    expect(await answers(entry, { do: 'stop', timeoutMs: 1 })).toEqual([
      { kind: 'pressed', listens: true },
      { kind: 'ended', how: 'poweroff', forced: false, kept: false },
    ]);
    expect(await answers(entry, { do: 'keep', as: 'x' })).toEqual([{ kind: 'refused', why: 'not this one' }]);
    await held.release();
    await expect(answers(entry, { do: 'status' })).rejects.toThrow('work has ended by itself');
  });

  test('survives lines that are no requests', async () => {
    let asked = 0;
    const held = await claim('work', async (request, answer) => {
      asked++;
      if (request.do === 'status') answer({ kind: 'status', facts: { ...FACTS, name: 'work' } });
    });
    for (const line of [
      '',
      'x',
      '[]',
      'null',
      '{"do":"dance"}',
      '{"do":"stop","timeoutMs":-1}',
      '{"do":"keep","as":"../x"}',
      '{"do":"save","path":"a\\u0000b"}',
    ]) {
      expect(await raw(socketIn(directory), `${line}\n`)).toContain('"refused"');
    }
    expect(await raw(socketIn(directory), 'x'.repeat(LINE_MAX + 10))).toBe('');
    expect(asked).toBe(0);
    expect(await namesOf()).toEqual(['work']);
    await held.release();
  });

  test('a process that does not answer is listed as such, and asking it ends', async () => {
    const held = await claim('work', () => new Promise(() => {}));
    const [entry] = await registry.list();
    expect(entry).toMatchObject({ silent: true, facts: { name: 'work', of: 'debian@2026-11-01' } });
    await expect(answers(entry!, { do: 'status' }, 100)).rejects.toThrow(`work (process ${process.pid}): it does not answer`);
    await held.release();
  });

  /** What comes back for some bytes. */
  async function raw(name: string, text: string): Promise<string> {
    const socket = createConnection(join(directory, name));
    let got = '';
    socket.on('data', (data) => (got += data.toString()));
    socket.on('error', () => {});
    socket.write(text);
    await once(socket, 'close');
    return got;
  }
});

function socketIn(path: string): string {
  return readdirSync(path).find((name) => name.endsWith('.sock'))!;
}
