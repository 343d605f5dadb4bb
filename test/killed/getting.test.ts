/** Readers that are killed: what they have is whole, nothing that they had is lost, and the next run succeeds. */
import { existsSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../src/base/sha256.ts';
import { NodeFiles } from '../../src/node/files.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import { noise } from '../../src/snapshots/testing/noise.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { serveDirectory } from '../../src/snapshots/testing/web-server.ts';
import { UNFINISHED } from '../../src/platform/files.ts';
import { buildDaybreak } from '../boot/daybreak.ts';
import { Killable, KILLS, filesIn, random, scratch } from './killable.ts';

beforeAll(buildDaybreak);

test(`a reader that is killed at any step has whole days, and goes on (${KILLS} times)`, { timeout: 6000 * KILLS }, async () => {
  const directory = scratch();
  const below = random();
  const daybreak = new Killable(directory, below);
  const publisher = new TestPublisher(join(directory, 'publisher'));
  // Those who read have the host's clock.
  publisher.nowMs = Date.now();
  const catalogue = new Catalogue(new NodeFiles(), daybreak.dataDirectory);
  const chunks = join(daybreak.dataDirectory, 'chunks');
  const web = await serveDirectory(publisher.www);
  try {
    let day = 0;
    const program = noise(100_000, 2);
    const dayOf = (number: number) => new Date(Date.UTC(2026, 0, number)).toISOString().slice(0, 10);
    const publishNext = async (): Promise<void> => {
      day++;
      program.set(noise(50, day), 1000);
      const files = { a: 'text', large: noise(1_500_000), program: program.slice(), empty: '', day: dayOf(day) };
      const snapshot = await publisher.snapshot('debian', dayOf(day), files);
      await publisher.addState(snapshot, 5, day);
      await publisher.publish(snapshot, { keepDays: 3 });
    };
    /** The days that are here, each with all that it has. */
    const whole = async (): Promise<string[]> => {
      for (const path of filesIn(chunks).filter((one) => !UNFINISHED.test(one)))
        expect(await sha256(readFileSync(join(chunks, path)))).toBe(path.replace('/', ''));
      const found = await catalogue.list((error) => expect.fail(error.message));
      for (const snapshot of found) {
        expect(snapshot).toEqual(await publisher.catalogue.get('debian', snapshot.day));
        const needed = [...(await catalogue.tree(snapshot)).entries()].flatMap(([, node]) => (node.type === 'file' ? [node.digest] : []));
        for (const digest of [snapshot.kernel.digest, ...needed]) expect(existsSync(catalogue.store.pathOf(digest))).toBe(true);
        const booted = await catalogue.booted(snapshot);
        if (booted) expect(booted.sizeBytes).toBe((await catalogue.store.get(booted.state)).length);
      }
      return found.map((one) => one.day).toSorted();
    };
    /** As if a day had passed: nobody may be in the middle of anything any more. */
    const grow = () => filesIn(chunks).forEach((path) => utimesSync(join(chunks, path), new Date(0), new Date(0)));

    interface Work {
      readonly args: readonly string[];
      after(days: readonly string[]): readonly string[];
    }
    const pull = (which: string): Work => ({
      args: ['pull', `debian@${which}`, '--from', web.url, '--trust', publisher.fingerprint],
      after: (days) => [...new Set([...days, which])].toSorted(),
    });
    const chooseWork = (): Work => {
      const kind = below(4);
      if (kind === 0) return pull(dayOf(Math.max(1, day - below(3))));
      if (kind === 1) {
        grow();
        const keep = 1 + below(2);
        return { args: ['prune', '--keep-days', String(keep)], after: (days) => days.slice(-keep) };
      }
      if (existsSync(join(directory, 'state/daybreak/origins.json'))) return { ...pull(dayOf(day)), args: ['update'] };
      return pull(dayOf(day));
    };

    await publishNext();
    let days: readonly string[] = [];
    let work = pull(dayOf(1));
    for (let kills = 0; kills < KILLS;) {
      const after = work.after(days);
      const { status, errors } = await daybreak.runAndKill(...work.args);
      expect(status ?? 0, `${work.args.join(' ')}: ${errors}`).toBe(0);
      if (status === undefined) kills++;
      const before = days;
      days = await whole();
      if (status === 0) expect(days).toEqual(after);
      // Days come one at a time, and go one at a time; those that were and are to be never go.
      for (const one of days) expect([...before, ...after]).toContain(one);
      for (const one of before.filter((had) => after.includes(had))) expect(days).toContain(one);
      daybreak.expectNothingElse();
      const then = below(4);
      if (then > 1) continue;
      if (then === 1) {
        expect(await daybreak.run(...work.args), work.args.join(' ')).toMatchObject({ status: 0 });
        expect((days = await whole())).toEqual(after);
      }
      if (below(2) === 0) await publishNext();
      work = chooseWork();
    }

    // A day later nothing is left of what was interrupted.
    expect(await daybreak.run(...pull(dayOf(day)).args)).toMatchObject({ status: 0 });
    grow();
    filesIn(join(directory, 'cache')).forEach((path) => utimesSync(join(directory, 'cache', path), new Date(0), new Date(0)));
    filesIn(daybreak.dataDirectory).forEach((path) => utimesSync(join(daybreak.dataDirectory, path), new Date(0), new Date(0)));
    expect(await daybreak.run('prune', '--keep-days', '1')).toMatchObject({ status: 0 });
    expect(await whole()).toEqual([dayOf(day)]);
    expect(filesIn(daybreak.dataDirectory).filter((path) => UNFINISHED.test(path))).toEqual([]);
    expect(filesIn(join(directory, 'cache'))).toEqual([]);
  } finally {
    web.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
