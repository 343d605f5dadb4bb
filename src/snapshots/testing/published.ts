/** Small snapshots in a catalogue of their own, for tests of publishing and getting. */
import { sha256 } from '../../base/sha256.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Tree, type TreeNode } from '../../storage/tree.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import type { Snapshot } from '../catalogue/snapshot.ts';
import { KeyDirectory } from '../publish/keyring.ts';
import { publishSnapshot, type PublishOptions, type PublishResult } from '../publish/publish.ts';
import { DirectoryStorage } from '../publish/storage.ts';
import { madeState } from './saved-state.ts';

export type TestFiles = Readonly<Record<string, string | Uint8Array>>;

/** A publisher with a directory of its own: `catalogue`, keys, and what it publishes in `www`. */
export class TestPublisher {
  readonly files = new NodeFiles();
  readonly catalogue: Catalogue;
  readonly storage: DirectoryStorage;
  readonly keys: KeyDirectory;
  readonly www: string;
  nowMs = Date.parse('2026-11-02T00:00:00Z');
  /** Of the last publication. */
  fingerprint = '';

  constructor(directory: string) {
    this.catalogue = new Catalogue(this.files, `${directory}/publisher`);
    this.www = `${directory}/www`;
    this.storage = new DirectoryStorage(this.files, this.www);
    this.keys = new KeyDirectory(this.files, `${directory}/keys`);
  }

  readonly clock = {
    nowMs: () => this.nowMs,
    sleep: (_ms: number, signal?: AbortSignal) => new Promise<void>((done) => signal?.addEventListener('abort', () => done())),
  };

  /** With a process that no lock's is known to be over of. */
  readonly locking = { clock: this.clock, processes: { own: 'a test', isOver: async (_name: string) => false } };

  /** What who pulls from it needs of a host, with the publisher's clock. */
  async readerHost() {
    return { files: this.files, clock: this.clock, zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: () => {} };
  }

  async snapshot(name: string, day: string, files: TestFiles): Promise<Snapshot> {
    const nodes = new Map<string, TreeNode>([['', { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0 }]]);
    let contentBytes = 0;
    for (const [path, content] of Object.entries(files)) {
      const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      contentBytes += data.length;
      const digest = await this.catalogue.store.put(data);
      nodes.set(path, { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, digest, sizeBytes: data.length });
    }
    return this.snapshotOf(name, day, new Tree(nodes), contentBytes, new TextEncoder().encode('a kernel'));
  }

  /** Of a tree whose contents are in the catalogue's store. */
  async snapshotOf(name: string, day: string, tree: Tree, contentBytes: number, kernel: Uint8Array): Promise<Snapshot> {
    const snapshot: Snapshot = {
      format: 1,
      name,
      day,
      tree: await this.catalogue.putTree(tree),
      entryCount: tree.size,
      contentBytes,
      kernel: { digest: await this.catalogue.store.put(kernel), version: '7.2' },
      inputs: await sha256(new Uint8Array()),
      lock: {
        format: 1,
        recipe: name,
        day,
        suites: [{ name: 'unstable', dateMs: Date.parse(day), index: await sha256(new Uint8Array()) }],
        packages: [],
        kernel: [],
      },
      packages: [],
      probes: [],
    };
    await this.catalogue.add(snapshot);
    return snapshot;
  }

  /** Gives a snapshot a booted state of so many pages. */
  async addState(snapshot: Snapshot, pages: number, seed = 1): Promise<void> {
    await this.catalogue.addBooted(snapshot, await madeState(pages, seed), 2 ** 30);
  }

  async publish(snapshot: Snapshot, options: Partial<PublishOptions> & { signal?: AbortSignal } = {}): Promise<PublishResult> {
    const host = {
      ...this.locking,
      zstd: await nodeZstd(),
      stateCodec: await nodeStateCodec(),
      progress: () => {},
      ...(options.signal && { signal: options.signal }),
    };
    const result = await publishSnapshot(host, this.storage, this.keys, this.catalogue, snapshot, { level: 3, ...options });
    this.fingerprint = result.fingerprint;
    return result;
  }

  async add(name: string, day: string, files: TestFiles, options: Partial<PublishOptions> = {}): Promise<PublishResult> {
    return this.publish(await this.snapshot(name, day, files), options);
  }
}
