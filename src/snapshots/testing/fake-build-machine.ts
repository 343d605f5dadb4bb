/**
 * Stands in for the machine of a build where only what is around it is tested: does to the tree on its file system what dpkg would do to
 * the state of packages; booted, it answers at a prompt.
 */
import type { VmError } from '../../base/errors.ts';
import type { MachineEnd } from '../../machine/machine.ts';
import { S_IFREG } from '../../machine/posix.ts';
import type { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { BuildMachine, MachineRequest } from '../builder/host.ts';
import { madeState } from './saved-state.ts';

export interface FakeGuest {
  /** Lines that the build reports before it ends. */
  readonly report?: readonly string[];
  readonly console?: string;
  /** What a probe's command prints and ends with. */
  readonly answer?: (command: string) => readonly [output: string, status: number];
  /** What going on from a saved state fails with. */
  readonly refuse?: () => VmError | undefined;
  /** What else happens to the tree. */
  readonly change?: (fs: TreeFileSystem) => Promise<void>;
}

const encode = (text: string) => new TextEncoder().encode(text);

export function fakeBuildMachine(guest: FakeGuest, started: MachineRequest[] = []): (request: MachineRequest) => Promise<BuildMachine> {
  return async (request) => {
    started.push(request);
    let end: (how: MachineEnd) => void = () => {};
    const ended = new Promise<MachineEnd>((resolve) => (end = resolve));
    const refused = request.restore && guest.refuse?.();
    if (refused) throw refused;
    const run = async () => {
      if (request.restore) return;
      if (!request.commandLine.includes('init=/daybreak-build/init')) {
        request.output(encode('welcome\r\nroot@daybreak:~# '));
        return;
      }
      request.output(encode(guest.console ?? 'Setting up things ...\n'));
      const fs = request.fileSystems![0]!.backend as TreeFileSystem;
      await configure(fs);
      await guest.change?.(fs);
      for (const line of guest.report ?? ['step configure', 'status: base-files: installed', 'exit 0']) request.control!(line);
      end({ kind: 'poweroff' });
    };
    setTimeout(() => void run(), 0);
    return {
      async input(data) {
        const nonce = /\\035([0-9a-f]{16})/.exec(new TextDecoder().decode(data))?.[1];
        if (nonce !== undefined) {
          setTimeout(() => request.output(encode(`\x1d${nonce}root@daybreak:~# \x1e${nonce} 0\r\n`)), 0);
          return;
        }
        const command = /\{ (.*)\n\}/.exec(new TextDecoder().decode(data))?.[1] ?? '';
        const [output, status] = guest.answer?.(command) ?? ['', 0];
        setTimeout(() => request.output(encode(`echo of it\r\n\x1d\x1b[K${output}\x1e${status}\r\nroot@daybreak:~# `)), 0);
      },
      async state() {
        return (await madeState()).data;
      },
      resize() {},
      stats: () => ({ instructions: 0, interpreted: 0, compiled: 0, decoded: 0, tlbMisses: 0, invalidations: 0, exits: {} }),
      ended,
      stop: () => end({ kind: 'stopped' }),
    };
  };
}

function inodeOf(fs: TreeFileSystem, path: string): number {
  return path.split('/').reduce((ino, name) => (ino < 0 ? ino : fs.lookup(ino, name)), fs.root);
}

/** A file of the guest's, made or written over. */
export async function writeFile(fs: TreeFileSystem, path: string, text: string): Promise<void> {
  const data = encode(text);
  const directory = path.includes('/') ? inodeOf(fs, path.slice(0, path.lastIndexOf('/'))) : fs.root;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const found = fs.lookup(directory, name);
  const ino = found > 0 ? found : fs.create(directory, name, { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
  fs.change(ino, { sizeBytes: 0 });
  const answer = data.length === 0 ? 0 : fs.write(ino, 0, data.length, (at, into) => into.set(data.subarray(at, at + into.length)));
  if (typeof answer !== 'number') throw new Error(`${path}: an empty file has nothing below`);
}

/** Rejects as the store below does. */
export async function readFile(fs: TreeFileSystem, path: string): Promise<string> {
  const ino = inodeOf(fs, path);
  let text = '';
  const take = () => fs.read(ino, 0, 1 << 24, (_at, bytes) => (text += new TextDecoder().decode(bytes)));
  for (let answer = take(); typeof answer !== 'number'; answer = take()) await answer;
  return text;
}

/** Configuration files go to their places, and all packages count as configured. */
async function configure(fs: TreeFileSystem): Promise<void> {
  for (const [path] of fs.tree.entries()) {
    if (!path.endsWith('.dpkg-new')) continue;
    const directory = inodeOf(fs, path.slice(0, path.lastIndexOf('/')));
    const name = path.slice(path.lastIndexOf('/') + 1);
    fs.rename(directory, name, directory, name.replace(/\.dpkg-new$/, ''), 0);
  }
  const path = 'var/lib/dpkg/status';
  await writeFile(fs, path, (await readFile(fs, path)).replaceAll('ok unpacked', 'ok installed'));
}
