/** Machines whose root is a tree over virtio-fs: packages of Debian's, unpacked, without a maintainer script having run. */
import { readFile } from 'node:fs/promises';
import { concatBytes } from '../../src/base/bytes.ts';
import { silent } from '../../src/base/log.ts';
import { startConsolePc, type ConsolePcHost, type ConsolePcOptions } from '../../src/boards/console-pc.ts';
import type { MachineEnd } from '../../src/machine/machine.ts';
import type { VCpuCounts } from '../../src/machine/vcpu.ts';
import { readSavedPc } from '../../src/boards/pc-state.ts';
import { NodeRandom } from '../../src/node/clock.ts';
import { FileSource } from '../../src/node/file-source.ts';
import { NodePace } from '../../src/node/pace.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import type { BuildMachine, MachineRequest } from '../../src/snapshots/builder/host.ts';
import { readDeb, unpackInto } from '../../src/snapshots/debian/unpack.ts';
import { finishTree, prepareTree, writeDpkgDatabase, type InstalledPackage } from '../../src/snapshots/debian/userland.ts';
import { MemoryChunkStore } from '../../src/storage/chunk-store.ts';
import { TreeBuilder } from '../../src/storage/tree-builder.ts';
import type { Tree } from '../../src/storage/tree.ts';
import type { Suite } from './debian.ts';

const TIME = 1_790_000_000;
const UNWANTED = /^(usr\/share\/(doc|man|info|locale|lintian|bug)\/|usr\/lib\/modules\/)/;

export interface Root {
  readonly tree: Tree;
  readonly store: MemoryChunkStore;
}

/** A userland of these packages and what they need, with further files by path: text, and executable. */
export async function debianRoot(
  suite: Pick<Suite, 'packages'>,
  wanted: readonly string[],
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<Root> {
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(TIME);
  const installed: InstalledPackage[] = [];
  prepareTree(builder, TIME);
  for await (const { found, deb } of suite.packages(wanted)) {
    const { control, entries } = await readDeb(found.filename, deb);
    await unpackInto(builder, store, found.filename, entries, (path) => !UNWANTED.test(path));
    installed.push({ name: found.name, architecture: found.architecture, control, paths: entries.map(({ path }) => path) });
  }
  await finishTree(builder, store, { mirror: 'http://mirror.invalid', suite: 'sid', time: TIME });
  await writeDpkgDatabase(builder, store, installed, TIME);
  await addFiles(builder, store, files);
  return { tree: builder.build(), store };
}

export async function addFiles(
  builder: TreeBuilder,
  store: MemoryChunkStore,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const node = { type: 'file', mode: 0o755, uid: 0, gid: 0, mtime: TIME, digest: await store.put(data), sizeBytes: data.length } as const;
    builder.add(path, node, 'the test');
  }
}

export interface Run {
  readonly end: MachineEnd;
  readonly output: string;
  readonly counts: VCpuCounts;
}

/** Runs a machine until it ends, or until `until` is printed. */
export async function runMachine(
  options: Omit<ConsolePcOptions, 'console' | 'output' | 'log' | 'initrds'> & Partial<Pick<ConsolePcOptions, 'initrds'>>,
  until?: RegExp,
  onOutput: (text: string) => void = () => {},
): Promise<Run> {
  let output = '';
  const machine = await startConsolePc(await pcHost(), {
    initrds: [],
    noReboot: true,
    ...options,
    console: 'serial',
    output: (data) => {
      const text = Buffer.from(data).toString('latin1');
      output += text;
      onOutput(text);
      if (until?.test(output.slice(-4096))) machine.stop();
    },
    log: silent,
  });
  const end = await machine.ended;
  return { end, output, counts: machine.stats() };
}

/** A machine of a build, whose state can be had. */
export async function startStateMachine(request: MachineRequest): Promise<BuildMachine> {
  const { restore, ...rest } = request;
  const codec = await nodeStateCodec();
  const source = typeof restore?.source === 'string' ? new FileSource(restore.source) : restore?.source;
  const machine = await startConsolePc(await pcHost(), {
    ...rest,
    ...(source && { restore: { ...restore, state: readSavedPc(source, codec) } }),
  });
  return {
    ...machine,
    async state() {
      const parts: Uint8Array[] = [];
      await machine.save(codec, async (data) => void parts.push(...data), 'go on');
      return concatBytes(parts);
    },
  };
}

export async function pcHost(): Promise<ConsolePcHost> {
  const compiled = async (name: string) => new WebAssembly.Module(await readFile(new URL(`../../dist/${name}`, import.meta.url)));
  return {
    pace: new NodePace(),
    random: new NodeRandom(),
    epochMs: Date.now(),
    runtime: await compiled('runtime.wasm'),
    handlers: await compiled('handlers.wasm'),
  };
}
