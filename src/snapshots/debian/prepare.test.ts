import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../../base/errors.ts';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import type { Appender } from '../../platform/files.ts';
import { FakeArchive, makeSigner, MINIMAL_PACKAGES, type Signer } from '../testing/fake-archive.ts';
import type { ArchiveOptions } from './archive.ts';
import { prepareDebian } from './prepare.ts';

let signer: Signer;
let archive: FakeArchive;
let mirror: string;
let directory: string;
let now: number;
let log: string[];

beforeAll(async () => {
  signer = await makeSigner();
});

beforeEach(async () => {
  archive = new FakeArchive(signer);
  await archive.publish();
  mirror = await archive.listen();
  directory = mkdtempSync(join(tmpdir(), 'daybreak-prepare-'));
  now = Date.parse('2026-11-02T00:00:00Z');
  log = [];
});

afterEach(() => {
  archive.close();
  rmSync(directory, { recursive: true, force: true });
});

const fetch = new NodeFetch({ silenceMs: 2000 });

function prepare(changes: Partial<ArchiveOptions> = {}, files = new NodeFiles(), signal?: AbortSignal) {
  return prepareDebian(
    {
      files,
      fetch,
      clock: { nowMs: () => now, sleep: async () => {} },
      log: (level, _component, message) => log.push(`${level}: ${message}`),
    },
    {
      mirror,
      suite: 'unstable',
      keyring: [signer.publicKey],
      strict: false,
      allowOlder: false,
      offline: false,
      cacheDirectory: join(directory, 'cache'),
      stateDirectory: join(directory, 'state'),
      ...changes,
    },
    () => {},
    signal,
  );
}

const cached = (name: string) => {
  try {
    return readdirSync(join(directory, 'cache', name)).sort();
  } catch {
    return [];
  }
};

/** Every file in the cache that is named by a digest has it. */
function expectCacheSound(): void {
  for (const name of cached('downloads').filter((one) => one !== 'partial')) {
    const digest = createHash('sha256')
      .update(readFileSync(join(directory, 'cache/downloads', name)))
      .digest('hex');
    expect(digest).toBe(name);
  }
}

const deb = (name: string) => `pool/${name}_1.deb`;
const onlyFor = (wanted: string, answer: (response: ServerResponse) => void, times = Number.POSITIVE_INFINITY) => {
  let left = times;
  archive.misbehave = (path, _request, response) => {
    if (path !== wanted || left-- <= 0) return false;
    answer(response);
    return true;
  };
};

describe('the plain way', () => {
  test('gives the kernel and an initramfs with the packages’ files, links and database', async () => {
    const image = await prepare();
    expect(new TextDecoder().decode(image.kernel)).toBe('a kernel');
    expect(image).toMatchObject({ kernelVersion: '7.2.0-cloud-amd64', packageCount: 10, date: '2026-11-01' });
    const text = new TextDecoder('latin1').decode(image.initramfs);
    for (const part of [
      'usr/bin/nano\0',
      'etc/alternatives/awk\0',
      '/usr/bin/mawk',
      'Package: apt\nStatus: install ok installed\n',
      `URIs: ${mirror}`,
    ]) {
      expect(text).toContain(part);
    }
    expectCacheSound();
    expect(cached('downloads/partial')).toEqual([]);
  });

  test('a second run fetches the signed state only and gives the same', async () => {
    const first = await prepare();
    archive.requests.length = 0;
    expect(await prepare()).toEqual(first);
    expect(archive.requests).toEqual(['dists/unstable/InRelease']);
  });

  test('several at once in one cache do not disturb each other', async () => {
    const files = new NodeFiles();
    const [first, ...others] = await Promise.all([prepare({}, files), prepare({}, files), prepare({}, files)]);
    for (const other of others) expect(other).toEqual(first);
  });

  test('two builds of the same state in different caches give the same bytes', async () => {
    const first = await prepare();
    expect((await prepare({ cacheDirectory: join(directory, 'other') })).initramfs).toEqual(first.initramfs);
  });

  test('offline works once cached, and asks nobody', async () => {
    const first = await prepare();
    archive.requests.length = 0;
    expect(await prepare({ offline: true })).toEqual(first);
    expect(archive.requests).toEqual([]);
  });

  test('without a network the cached state does, with a warning', async () => {
    const first = await prepare();
    archive.close();
    expect(await prepare()).toEqual(first);
    expect(log.join()).toContain('going on with the last state');
  });

  test('offline with an empty cache says what would help', async () => {
    await expect(prepare({ offline: true })).rejects.toThrow(/run once without --offline/);
  });

  test('a damaged image in the cache is made again', async () => {
    const first = await prepare();
    const [name] = cached('images');
    writeFileSync(join(directory, 'cache/images', name!, 'initramfs.cpio'), 'damaged');
    expect((await prepare()).initramfs).toEqual(first.initramfs);
  });

  test('a damaged download in the cache is fetched again', async () => {
    await prepare();
    for (const name of cached('downloads')) if (name !== 'partial') writeFileSync(join(directory, 'cache/downloads', name), 'damaged');
    rmSync(join(directory, 'cache/images'), { recursive: true });
    await prepare();
    expectCacheSound();
  });
});

describe('age of the state', () => {
  test('past its date is told with its age, and goes on', async () => {
    now = Date.parse('2026-11-24T12:00:00Z');
    await prepare();
    expect(log.join()).toMatch(/23 days old \(2026-11-01\).*until 2026-11-08/);
  });

  test('past its date is refused by strict', async () => {
    now = Date.parse('2026-11-24T12:00:00Z');
    await expect(prepare({ strict: true })).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining('23 days old'),
    });
  });

  test('a state older than one seen before is refused, and taken when asked for', async () => {
    await prepare();
    await archive.publish({ date: 'Sat, 31 Oct 2026 08:00:00 UTC' });
    await expect(prepare()).rejects.toThrow(/older than the one of 2026-11-01.*--allow-older/);
    expect((await prepare({ allowOlder: true })).date).toBe('2026-10-31');
    await expect(prepare()).rejects.toThrow(/older than the one of 2026-11-01/);
  });

  test('another suite’s state, though signed, is refused', async () => {
    const { files } = archive;
    await archive.publish({ suite: 'stable' });
    const text = new TextDecoder().decode(files.get('dists/unstable/InRelease'));
    expect(text).toContain('Codename: sid');
    files.set(
      'dists/unstable/InRelease',
      new TextEncoder().encode(await archive.signed('Suite: stable\nCodename: trixie\nDate: Sun, 01 Nov 2026 08:00:00 UTC\n')),
    );
    await expect(prepare()).rejects.toThrow(/for the suite stable \(trixie\), not for unstable/);
  });
});

describe('bad servers', () => {
  test('an unsigned state is refused and not kept', async () => {
    archive.files.set('dists/unstable/InRelease', new TextEncoder().encode('<html>log in</html>'));
    await expect(prepare()).rejects.toMatchObject({ code: 'bad-signature' });
    expect(cached('releases')).toEqual([]);
  });

  test('a state signed by somebody else is refused', async () => {
    const stranger = new FakeArchive(await makeSigner());
    await stranger.publish();
    archive.files.set('dists/unstable/InRelease', stranger.files.get('dists/unstable/InRelease')!);
    await expect(prepare()).rejects.toMatchObject({ code: 'bad-signature' });
  });

  test('a mirror that is none is named', async () => {
    await expect(prepare({ mirror: mirror.replace('/debian', '/nothing') })).rejects.toThrow(/is .*\/nothing a Debian mirror/);
  });

  test('a package whose bytes were changed is refused, named, and not kept', async () => {
    archive.files.set(
      deb('nano'),
      archive.files.get(deb('nano'))!.map((byte, i) => (i === 200 ? byte ^ 1 : byte)),
    );
    await expect(prepare()).rejects.toMatchObject({ code: 'bad-digest', message: expect.stringContaining('nano_1.deb') });
    expectCacheSound();
    expect(cached('images')).toEqual([]);
  });

  test('a package that is missing is named', async () => {
    archive.files.delete(deb('nano'));
    await expect(prepare()).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringMatching(/nano_1\.deb.*being updated or broken/),
    });
  });

  test('a package longer than signed for is cut off and refused', async () => {
    archive.files.set(deb('nano'), new Uint8Array(1 << 20));
    await expect(prepare()).rejects.toMatchObject({ code: 'bad-digest' });
  });

  test('a changed package index is refused', async () => {
    for (const path of archive.files.keys()) if (path.includes('binary-amd64')) archive.files.set(path, new Uint8Array(50));
    await expect(prepare()).rejects.toThrow(VmError);
  });

  test('without by-hash the index is taken by its plain name', async () => {
    for (const path of archive.files.keys()) if (path.includes('by-hash')) archive.files.delete(path);
    expect((await prepare()).packageCount).toBe(10);
  });

  test('errors of the server that pass are tried again', async () => {
    onlyFor(deb('nano'), (response) => response.writeHead(503).end(), 2);
    expect((await prepare()).packageCount).toBe(10);
  });

  test('errors of the server that stay are told', async () => {
    onlyFor(deb('nano'), (response) => response.writeHead(503).end());
    await expect(prepare()).rejects.toMatchObject({ code: 'network', message: expect.stringContaining('status 503') });
  });

  test('a server that falls silent is given up', async () => {
    onlyFor('dists/unstable/InRelease', () => {});
    await expect(prepare()).rejects.toMatchObject({ code: 'network', message: expect.stringMatching(/no answer for 2 s/) });
  });
});

describe('interrupted downloads', () => {
  const cutOff = (path: string, count: number, times: number) => {
    const data = archive.files.get(path)!;
    onlyFor(
      path,
      (response) => {
        response.writeHead(200, { 'content-length': data.length });
        response.write(data.subarray(0, count), () => response.socket?.destroySoon());
      },
      times,
    );
  };

  test('are resumed by range within a run', async () => {
    cutOff(deb('nano'), 1000, 1);
    await prepare();
    expect(archive.requests.filter((path) => path.startsWith(deb('nano')))).toEqual([deb('nano'), `${deb('nano')}@1000`]);
    expectCacheSound();
  });

  test('are resumed by range in a later run', async () => {
    cutOff(deb('nano'), 1000, Number.POSITIVE_INFINITY);
    await expect(prepare()).rejects.toMatchObject({ code: 'network' });
    archive.misbehave = () => false;
    archive.requests.length = 0;
    await prepare();
    expect(archive.requests).toContain(`${deb('nano')}@1000`);
  });

  test('start again when the server knows no ranges', async () => {
    cutOff(deb('nano'), 1000, 1);
    const cut = archive.misbehave;
    const data = archive.files.get(deb('nano'))!;
    archive.misbehave = (path, request, response) => {
      if (path === deb('nano') && request.headers.range) {
        response.writeHead(200, { 'content-length': data.length }).end(data);
        return true;
      }
      return cut(path, request, response);
    };
    await prepare();
    expectCacheSound();
  });

  test('start again when what was there before is damaged', async () => {
    cutOff(deb('nano'), 1000, Number.POSITIVE_INFINITY);
    await expect(prepare()).rejects.toThrow();
    archive.misbehave = () => false;
    for (const name of cached('downloads/partial')) writeFileSync(join(directory, 'cache/downloads/partial', name), new Uint8Array(900));
    await prepare();
    expectCacheSound();
  });

  test('by the person end soon, as cancelled', async () => {
    const abort = new AbortController();
    onlyFor(deb('nano'), () => abort.abort());
    await expect(prepare({}, new NodeFiles(), abort.signal)).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('a mirror that changes under us', () => {
  test('is asked for its state once more, and its new state is used', async () => {
    archive.misbehave = (path) => {
      if (!path.startsWith('pool/')) return false;
      archive.misbehave = () => false;
      // The old packages go the moment the first is asked for.
      for (const file of archive.files.keys()) if (file.startsWith('pool/')) archive.files.delete(file);
      return false;
    };
    const old = archive.files.get('dists/unstable/InRelease')!;
    const next = new FakeArchive(signer);
    await next.publish({ packages: MINIMAL_PACKAGES.map((one) => ({ ...one, version: '2' })), date: 'Mon, 02 Nov 2026 08:00:00 UTC' });
    const seen = archive.misbehave;
    archive.misbehave = (path, request, response) => {
      const handled = seen(path, request, response);
      if (path.startsWith('pool/')) for (const [name, data] of next.files) archive.files.set(name, data);
      return handled;
    };
    expect(archive.files.get('dists/unstable/InRelease')).toBe(old);
    // The kernel’s meta package still depends on version 1.
    const image = await prepare();
    expect(image.date).toBe('2026-11-02');
    expect(log.join()).toContain('updated meanwhile');
  });
});

/** A disk with room for so many bytes. */
class FullDisk extends NodeFiles {
  #room: number;

  constructor(room: number) {
    super();
    this.#room = room;
  }

  override async append(path: string, offset: number): Promise<Appender> {
    const inner = await super.append(path, offset);
    return {
      ...inner,
      write: async (data) => {
        this.#room -= data.length;
        if (this.#room < 0) throw new VmError('host-io', `cannot write ${path}: the disk is full`);
        await inner.write(data);
      },
    };
  }
}

describe('a full disk', () => {
  test('is told as such, and leaves nothing that looks whole', async () => {
    await expect(prepare({}, new FullDisk(3000))).rejects.toMatchObject({
      code: 'host-io',
      message: expect.stringContaining('the disk is full'),
    });
    expectCacheSound();
    expect(cached('images')).toEqual([]);
    await prepare();
  });
});

/** Writes take their time; knows how many files are open for it, and how many were. */
class SlowDisk extends NodeFiles {
  open = 0;
  opened = 0;

  override async append(path: string, offset: number): Promise<Appender> {
    const inner = await super.append(path, offset);
    this.open++;
    this.opened++;
    return {
      ...inner,
      write: async (data) => {
        await new Promise((resolve) => setTimeout(resolve, 200));
        await inner.write(data);
      },
      close: async () => {
        await inner.close();
        this.open--;
      },
    };
  }
}

describe('a failure', () => {
  test('is told when the downloads beside it have left the cache alone', async () => {
    const disk = new SlowDisk();
    onlyFor(deb('linux-binary-7.2.0-cloud-amd64'), (response) => {
      const wait = setInterval(() => {
        if (disk.opened === 0) return;
        clearInterval(wait);
        response.writeHead(503).end();
      }, 1);
    });
    await expect(prepare({}, disk)).rejects.toMatchObject({ code: 'network' });
    expect(disk.open).toBe(0);
  });
});
