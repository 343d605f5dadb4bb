import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { makeBzImage } from '../firmware/testing/kernels.ts';
import { NodeFiles } from '../node/files.ts';
import type { Appender } from '../platform/files.ts';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { decompress } from '../storage/decompress.ts';
import { readTar } from '../storage/tar.ts';
import { main } from './main.ts';
import { testHost } from './testing/fakes.ts';

let directory: string;
let out: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-export-'));
  out = join(directory, 'out');
  const publisher = new TestPublisher(directory);
  const plain = await publisher.snapshot('plain', '2026-11-01', { a: 'text' });
  const tree = await publisher.catalogue.tree(plain);
  await publisher.snapshotOf('debian', '2026-11-01', tree, 4, makeBzImage({}));
  return () => rmSync(directory, { recursive: true, force: true });
});

/** Of writes, the last that succeeds. */
class FullDisk extends NodeFiles {
  #left: number;
  constructor(writes: number) {
    super();
    this.#left = writes;
  }
  override async append(path: string, offset: number): Promise<Appender> {
    const inner = await super.append(path, offset);
    return {
      ...inner,
      write: async (data) => {
        if (this.#left-- <= 0) throw new VmError('host-io', `cannot write ${path}: the disk is full`);
        await inner.write(data);
      },
    };
  }
}

async function run(files: NodeFiles, abort: boolean, ...args: string[]) {
  const { host, terminal, errors, abort: aborter } = testHost(directory);
  if (abort) aborter.abort('SIGINT');
  const status = await main({ ...host, files, dataDirectory: join(directory, 'publisher') }, ['export', ...args]);
  return { status, output: terminal.output, errors: errors.text };
}
const exported = (...args: string[]) => run(new NodeFiles(), false, ...args);
const left = () => (existsSync(out) ? readdirSync(out) : []);

test('a disk is written, and how to start it is told', async () => {
  const path = join(out, 'a.qcow2');
  const { status, errors } = await exported('debian', path, '--size', '1G');
  expect({ status, errors }).toMatchObject({
    status: 0,
    errors: expect.stringMatching(/a\.qcow2: debian@2026-11-01, .*, a disk of 1\.1 GB\n/),
  });
  expect(errors.match(/^writing: /gm)).toHaveLength(1);
  expect(errors).toContain('no driver modules');
  expect(errors).toMatch(/start it: qemu-system-x86_64 .*format=qcow2,if=virtio\n$/);
  expect(readFileSync(path).subarray(0, 4)).toEqual(Buffer.from([0x51, 0x46, 0x49, 0xfb]));
  const raw = JSON.parse((await exported('debian@2026-11-01', join(out, 'b.img'), '--size', '512M', '--json')).output) as Record<string, unknown>; // prettier-ignore
  expect(raw).toMatchObject({ name: 'debian', format: 'raw', disk: { sizeBytes: 2 ** 29 } });
});

test('archives are written, packed too', async () => {
  await exported('plain', join(out, 'a.tar'));
  await exported('plain', join(out, 'a.tar.zst'));
  const tar = new Uint8Array(readFileSync(join(out, 'a.tar')));
  expect([...readTar('a', tar)].map(({ path }) => path)).toEqual(['./', 'a']);
  expect(await decompress('b', new Uint8Array(readFileSync(join(out, 'a.tar.zst'))), 1 << 20)).toEqual(tar);
});

test('what is there is replaced when that is asked for, and only by something whole', async () => {
  const path = join(directory, 'a.tar');
  writeFileSync(path, 'mine');
  expect(await exported('plain', path)).toMatchObject({ status: 2, errors: expect.stringContaining('is there already') });
  const { errors } = await run(new FullDisk(1), false, 'plain', path, '--force');
  expect(errors).toContain('the disk is full');
  expect(readFileSync(path, 'utf8')).toBe('mine');
  expect((await exported('plain', path, '--force')).status).toBe(0);
  expect(readFileSync(path).length).toBeGreaterThan(1024);
});

test('a full disk or an interruption leaves nothing', async () => {
  for (const writes of [0, 1, 3, 8]) {
    expect(await run(new FullDisk(writes), false, 'debian', join(out, 'a.raw'), '--size', '1G')).toMatchObject({ status: 1, errors: expect.stringContaining('the disk is full') }); // prettier-ignore
    expect(left()).toEqual([]);
  }
  expect((await run(new NodeFiles(), true, 'debian', join(out, 'a.raw'), '--size', '1G')).status).toBe(130);
  expect(left()).toEqual([]);
});

test('what a killed run has left goes with the next one, but nothing that may still be written', async () => {
  mkdirSync(out);
  const [old, fresh, other] = ['a.raw.12.0.new', 'a.raw.13.0.new', 'b.raw.12.0.new'].map((name) => join(out, name));
  for (const path of [old!, fresh!, other!]) writeFileSync(path, 'half');
  const now = Date.parse('2026-11-02T00:00:00Z') / 1000;
  for (const [path, seconds] of [[old!, now - 7200], [fresh!, now - 60], [other!, now - 7200]] as const) utimesSync(path, seconds, seconds); // prettier-ignore
  expect((await exported('debian', join(out, 'a.raw'), '--size', '1G')).status).toBe(0);
  expect(left()).toEqual(['a.raw', 'a.raw.13.0.new', 'b.raw.12.0.new']);
});

test.each<[string, string[]]>([
  ['expected a name and a file', ['debian']],
  ['expected a name that ends in', ['debian', 'x.iso']],
  ['expected qcow2, raw, tar, tar.zst', ['debian', 'x', '--format', 'iso']],
  ['expected a size with its unit', ['debian', 'x.raw', '--size', '20']],
  ['--size is for a disk', ['debian', 'x.tar', '--size', '20G']],
  ['is a directory', ['debian', '/', '--format', 'raw']],
  ['too small', ['debian', 'x.raw', '--size', '1M']],
  ['no snapshot fedora', ['fedora', 'x.raw']],
  ['no bzImage', ['plain', 'x.raw']],
])('says "%s"', async (message, args) => {
  const { status, errors } = await exported(...args);
  expect(status).toBeGreaterThan(0);
  expect(errors).toContain(message);
});
