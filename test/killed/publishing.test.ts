/** Publishers that are killed: whoever reads what they publish has the old day or the new one, whole, and the next run succeeds. */
import { rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { NodeClock } from '../../src/node/clock.ts';
import { NodeFiles } from '../../src/node/files.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { nodeZstd } from '../../src/node/zstd.ts';
import { StorageSource } from '../../src/snapshots/get/source.ts';
import { verifyPublished, type VerifyResult } from '../../src/snapshots/publish/verify.ts';
import { DirectoryStorage } from '../../src/snapshots/publish/storage.ts';
import { noise } from '../../src/snapshots/testing/noise.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { ROLES } from '../../src/snapshots/trust/metadata.ts';
import { buildDaybreak } from '../boot/daybreak.ts';
import { Killable, KILLS, filesIn, random, scratch } from './killable.ts';

beforeAll(buildDaybreak);

/** What a publisher does, and which days are listed after it. */
interface Work {
  readonly args: readonly string[];
  after(days: readonly string[]): readonly string[];
  /** While it is at work, too, all is as it was or as it will be: readers come at any time. */
  readonly read: boolean;
}

test(`a publisher that is killed at any step leaves the old days or the new ones (${KILLS} times)`, { timeout: 6000 * KILLS }, async () => {
  const directory = scratch();
  try {
    const below = random();
    const daybreak = new Killable(directory, below);
    const publisher = new TestPublisher(directory);
    symlinkSync(join(directory, 'publisher'), daybreak.dataDirectory);
    const www = join(directory, 'www');
    const source = new StorageSource(new DirectoryStorage(new NodeFiles(), www));
    const reading = { clock: new NodeClock(), zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: () => {} };
    const verify = async (): Promise<readonly string[]> => {
      const { days, problems }: VerifyResult = await verifyPublished(source, reading);
      expect(problems).toEqual([]);
      return days;
    };

    let day = 0;
    const program = noise(100_000, 2);
    const newDay = async (): Promise<string> => {
      day++;
      program.set(noise(50, day), 1000);
      const text = new Date(Date.UTC(2026, 0, day)).toISOString().slice(0, 10);
      const snapshot = await publisher.snapshot('debian', text, {
        a: 'text',
        large: noise(200_000),
        program: program.slice(),
        day: text,
      });
      await publisher.addState(snapshot, 5, day);
      return `debian@${text}`;
    };
    const newest = await newDay();
    expect(await daybreak.run('publish', 'debian', www)).toMatchObject({ status: 0 });
    expect(await verify()).toEqual([newest]);

    let next = await newDay();
    const publish = (keep: number): Work => ({
      args: ['publish', 'debian', www, '--keep-days', String(keep)],
      after: (days) => (days.includes(next) ? days : [next, ...days]).slice(0, keep),
      read: true,
    });
    const same = (read: boolean, ...args: string[]): Work => ({ args: ['publish', ...args, www], after: (days) => days, read });
    const chooseWork = (): Work => {
      const kind = below(10);
      if (kind < 6) return publish(2 + below(2));
      if (kind < 7) return same(true, '--renew');
      if (kind < 8) return same(true, '--rotate', ROLES[below(ROLES.length)]!);
      return same(false, '--collect', '--grace', '0', '--even-much');
    };

    let days = await verify();
    let work = chooseWork();
    for (let kills = 0; kills < KILLS;) {
      const expected = [days, work.after(days)].map((one) => one.join());
      const ended = daybreak.runAndKill(...work.args);
      const pause = () => new Promise<undefined>((done) => setTimeout(done, 200));
      while (work.read && !(await Promise.race([ended, pause()]))) expect(expected).toContain((await verify()).join());
      const { status, errors } = await ended;
      expect(status ?? 0, errors).toBe(0);
      if (status === undefined) kills++;
      days = await verify();
      expect(status === 0 ? [expected[1]] : expected).toContain(days.join());
      daybreak.expectNothingElse();
      // Killed again and again, or finished, or something else is done next.
      const then = below(4);
      if (then > 1) continue;
      if (then === 1) {
        expect(await daybreak.run(...work.args), work.args.join(' ')).toMatchObject({ status: 0 });
        expect((days = await verify()).join()).toBe(expected[1]);
      }
      if (days.includes(next)) next = await newDay();
      work = chooseWork();
    }

    // What was left behind goes with the rest.
    expect(await daybreak.run('publish', 'debian', www, '--keep-days', '1')).toMatchObject({ status: 0 });
    expect(await daybreak.run('publish', '--collect', '--grace', '0', '--even-much', www)).toMatchObject({ status: 0 });
    expect(await verify()).toEqual([next]);
    expect(filesIn(www).filter((path) => path.endsWith('.new') || path.endsWith('.lock'))).toEqual([]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
