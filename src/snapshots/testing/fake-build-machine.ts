/**
 * Stands in for the machine of a build where only what is around it is tested: takes the tree from the initramfs, does what dpkg would do
 * to the state of packages, and sends it back; booted, it answers at a prompt.
 */
import type { MachineEnd } from '../../machine/machine.ts';
import { makeTar, type TestEntry } from '../../storage/testing/archives.ts';
import { TREE_PORT } from '../builder/guest-script.ts';
import type { BuildMachine, MachineRequest } from '../builder/host.ts';

export interface FakeGuest {
  /** Lines that the build reports before it ends; with `exit 0` among them, the tree is sent. */
  readonly report?: readonly string[];
  readonly console?: string;
  /** What a probe's command prints and ends with. */
  readonly answer?: (command: string) => readonly [output: string, status: number];
  /** Called with the entries of the tree before it is sent. */
  readonly change?: (entries: TestEntry[]) => TestEntry[];
}

const encode = (text: string) => new TextEncoder().encode(text);

export function fakeBuildMachine(guest: FakeGuest, started: MachineRequest[] = []): (request: MachineRequest) => Promise<BuildMachine> {
  return async (options) => {
    started.push(options);
    let end: (how: MachineEnd) => void = () => {};
    const ended = new Promise<MachineEnd>((resolve) => (end = resolve));
    const building = options.commandLine.includes('rdinit=/daybreak-build/init');
    setTimeout(() => {
      options.output(encode(building ? (guest.console ?? 'Setting up things ...\n') : 'welcome\r\nroot@daybreak:~# '));
      if (!building) return;
      const report = guest.report ?? ['step configure', 'status: base-files: installed', 'exit 0'];
      if (report.includes('exit 0')) {
        const tree = configured(readCpio(options.initrds[0]!));
        options.ports!.find(({ name }) => name === TREE_PORT)!.write(makeTar(guest.change?.(tree) ?? tree));
      }
      for (const line of report) options.control!(line);
      end({ kind: 'poweroff' });
    }, 0);
    return {
      async input(data) {
        const command = /\{ (.*)\n\}/.exec(new TextDecoder().decode(data))?.[1] ?? '';
        const [output, status] = guest.answer?.(command) ?? ['', 0];
        setTimeout(() => options.output(encode(`echo of it\r\n\x1d${output}\x1e${status}\r\nroot@daybreak:~# `)), 0);
      },
      ended,
      stop: () => end({ kind: 'stopped' }),
    };
  };
}

/** newc: Documentation/driver-api/early-userspace/buffer-format. */
function readCpio(data: Uint8Array): TestEntry[] {
  const entries: TestEntry[] = [];
  for (let at = 0; ;) {
    const field = (index: number) => Number.parseInt(new TextDecoder().decode(data.subarray(at + 6 + index * 8, at + 14 + index * 8)), 16);
    const [mode, uid, gid, mtime, size, major, minor, nameSize] = [1, 2, 3, 5, 6, 9, 10, 11].map(field) as [number, ...number[]];
    const name = new TextDecoder().decode(data.subarray(at + 110, at + 110 + nameSize! - 1));
    const start = (at + 110 + nameSize! + 3) & ~3;
    if (name === 'TRAILER!!!') return entries;
    const content = data.slice(start, start + size!);
    const flag = { 0o04: '5', 0o10: '0', 0o12: '2', 0o02: '3', 0o06: '4', 0o01: '6' }[mode >> 12]!;
    const own = { mode: mode & 0o7777, uid: uid!, gid: gid!, mtime: mtime!, major: major!, minor: minor! };
    if (flag === '2') entries.push({ path: `./${name}`, flag, target: new TextDecoder().decode(content), ...own });
    else entries.push({ path: `./${name}`, flag, content, ...own });
    at = (start + size! + 3) & ~3;
  }
}

function configured(entries: TestEntry[]): TestEntry[] {
  return entries
    .filter(({ path }) => !path.startsWith('./daybreak-build') && !path.startsWith('./dev/') && path !== './.')
    .map((entry) => ({ ...entry, path: entry.path.replace(/\.dpkg-new$/, '') }))
    .map((entry) => {
      if (entry.path !== './var/lib/dpkg/status') return entry;
      return { ...entry, content: new TextDecoder().decode(entry.content as Uint8Array).replaceAll('ok unpacked', 'ok installed') };
    });
}
