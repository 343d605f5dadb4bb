/**
 * The minimal userland of `try debian`: which packages, which of their files, and what makes the unpacked tree usable
 * without running a single maintainer script.
 */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { TreeBuilder } from '../../storage/tree-builder.ts';
import type { TreeNode } from '../../storage/tree.ts';
import { fieldOf } from './control.ts';
import { INIT_SCRIPT } from './init-script.ts';

/** Raise when a change here gives another tree from the same packages: cached images are named by it. */
export const USERLAND_VERSION = 3;

/** Besides what is marked Essential. */
export const WANTED_PACKAGES = ['apt', 'less', 'login', 'mawk', 'mount', 'nano', 'passwd', 'procps'];

/** Looked at by people who have more room than a throw-away machine's memory. */
const UNWANTED = [
  'usr/share/doc/',
  'usr/share/man/',
  'usr/share/info/',
  'usr/share/locale/',
  'usr/share/lintian/',
  'usr/share/bug/',
  'usr/share/doc-base/',
  'usr/share/common-licenses/',
  'usr/share/bash-completion/',
  'usr/share/zsh/',
  'usr/share/fish/',
  'usr/share/gcc/',
  'usr/share/gdb/',
  'usr/share/polkit-1/',
  'usr/share/i18n/',
  'usr/lib/systemd/',
  'usr/lib/x86_64-linux-gnu/gconv/',
];

export function isWanted(path: string): boolean {
  const merged = path.startsWith('lib/') ? `usr/${path}` : path;
  return !UNWANTED.some((prefix) => merged.startsWith(prefix) || `${merged}/` === prefix);
}

/** What update-alternatives would have made: the link, and the first program of these that is there. */
const ALTERNATIVES: readonly (readonly [string, readonly string[]])[] = [
  ['usr/bin/awk', ['usr/bin/mawk']],
  ['usr/bin/nawk', ['usr/bin/mawk']],
  ['usr/bin/editor', ['usr/bin/nano']],
  ['usr/bin/pager', ['usr/bin/less', 'usr/bin/more']],
  ['usr/bin/which', ['usr/bin/which.debianutils']],
  ['usr/bin/w', ['usr/bin/w.procps']],
];

const MERGED_DIRECTORIES = ['bin', 'lib', 'lib64', 'sbin'];

const PAM_COMMON: Record<string, string> = {
  'common-account': 'account required pam_permit.so\n',
  'common-auth': 'auth required pam_unix.so nullok\n',
  'common-password': 'password required pam_unix.so obscure yescrypt\n',
  'common-session': 'session required pam_unix.so\n',
  'common-session-noninteractive': 'session required pam_unix.so\n',
};

export interface UserlandSource {
  /** Where apt in the guest looks. */
  readonly mirror: string;
  readonly suite: string;
  /** Date of the archive's state, in seconds since 1970; every file made here gets it. */
  readonly time: number;
}

/** Merged-/usr symlinks, before any package: dpkg's maintainers' layout since Debian 12. */
export function prepareTree(builder: TreeBuilder, time: number): void {
  for (const name of MERGED_DIRECTORIES) {
    builder.add(`usr/${name}`, { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: time }, 'userland');
    builder.add(name, { type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtime: time, target: `usr/${name}` }, 'userland');
  }
}

/** After all packages: accounts, configuration, links, devices and /init. */
export async function finishTree(builder: TreeBuilder, store: ChunkStore, source: UserlandSource): Promise<void> {
  const own = { uid: 0, gid: 0, mtime: source.time };
  const where = 'userland';
  const put = async (path: string, content: string | Uint8Array, mode = 0o644, gid = 0) => {
    const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    builder.add(path, { type: 'file', ...own, mode, gid, digest: await store.put(data), sizeBytes: data.length }, where);
  };
  const symlink = (path: string, target: string) => builder.add(path, { type: 'symlink', ...own, mode: 0o777, target }, where);
  const directory = (path: string, mode = 0o755, gid = 0) => {
    builder.add(path, { type: 'directory', ...own, mode, gid }, where);
    builder.update(path, (node) => ({ ...node, mode, gid }), where);
  };
  /** Uses a package's template at the place where its postinst would have put it. */
  const copy = (from: string, to: string) => {
    const node: TreeNode | undefined = builder.lookup(from, where);
    if (node?.type !== 'file') throw new VmError('bad-image', `the packages lack /${from}, without which there is no usable system`);
    builder.add(to, { ...node }, where);
  };
  const copyIfThere = (from: string, to: string) => {
    if (builder.lookup(from, where)?.type === 'file' && !builder.lookup(to, where)) copy(from, to);
  };

  for (const name of ['dev', 'proc', 'sys', 'run', 'mnt', 'media', 'opt', 'srv', 'home', 'boot', 'var/log', 'var/cache']) directory(name);
  for (const name of ['tmp', 'var/tmp']) directory(name, 0o1777);
  directory('run/lock', 0o1777);
  symlink('var/run', '/run');
  symlink('var/lock', '/run/lock');
  directory('root', 0o700);
  // The kernel opens it for /init before anything is mounted.
  builder.add('dev/console', { type: 'char', ...own, mode: 0o600, major: 5, minor: 1 }, where);
  builder.add('dev/null', { type: 'char', ...own, mode: 0o666, major: 1, minor: 3 }, where);

  copy('usr/share/base-passwd/passwd.master', 'etc/passwd');
  copy('usr/share/base-passwd/group.master', 'etc/group');
  await put('etc/shadow', await shadowOf(builder, store, source.time), 0o640, 42);
  copyIfThere('usr/share/base-files/nsswitch.conf', 'etc/nsswitch.conf');
  copyIfThere('usr/share/base-files/profile', 'etc/profile');
  copyIfThere('usr/share/base-files/dot.bashrc', 'root/.bashrc');
  copyIfThere('usr/share/base-files/dot.profile', 'root/.profile');
  copyIfThere('usr/share/libc-bin/nsswitch.conf', 'etc/nsswitch.conf');
  for (const [name, content] of Object.entries(PAM_COMMON)) await put(`etc/pam.d/${name}`, content);

  await put('etc/hostname', 'daybreak\n');
  await put('etc/hosts', '127.0.0.1 localhost\n127.0.1.1 daybreak\n::1 localhost ip6-localhost ip6-loopback\n');
  await put('etc/resolv.conf', '');
  await put('etc/fstab', '');
  await put('etc/machine-id', '');
  await put('etc/shells', '/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n/bin/dash\n/usr/bin/dash\n');
  await put('etc/default/locale', 'LANG=C.UTF-8\n');
  await put('etc/debian_chroot', '').then(() => builder.remove('etc/debian_chroot', where));
  symlink('etc/mtab', '../proc/self/mounts');
  await put(
    'etc/apt/sources.list.d/debian.sources',
    `Types: deb\nURIs: ${source.mirror}\nSuites: ${source.suite}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n`,
  );
  directory('var/lib/apt/lists/partial', 0o700);
  directory('var/cache/apt/archives/partial', 0o700);

  for (const [link, programs] of ALTERNATIVES) {
    const program = programs.find((path) => builder.lookup(path, where));
    if (!program || builder.get(link, where)) continue;
    const name = link.slice(link.lastIndexOf('/') + 1);
    symlink(link, `/etc/alternatives/${name}`);
    symlink(`etc/alternatives/${name}`, `/${program}`);
  }
  await put('init', INIT_SCRIPT, 0o755);
}

/** One locked line per account: nobody logs in with a password here. */
async function shadowOf(builder: TreeBuilder, store: ChunkStore, time: number): Promise<string> {
  const passwd = builder.lookup('etc/passwd', 'userland');
  if (passwd?.type !== 'file') return '';
  const text = new TextDecoder().decode(await store.get(passwd.digest));
  const day = Math.floor(time / 86_400);
  return text
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => `${line.slice(0, line.indexOf(':'))}:*:${day}:0:99999:7:::\n`)
    .join('');
}

/** A package as dpkg's database has to know it. */
export interface InstalledPackage {
  readonly name: string;
  readonly architecture: string;
  readonly control: ReadonlyMap<string, Uint8Array>;
  /** Paths of its data archive as they stand there. */
  readonly paths: readonly string[];
}

/** dpkg's database, so that dpkg and apt in the guest know what is there. Layout: dpkg(1), "Files". */
export async function writeDpkgDatabase(
  builder: TreeBuilder,
  store: ChunkStore,
  packages: readonly InstalledPackage[],
  time: number,
): Promise<void> {
  const decoder = new TextDecoder();
  const put = async (path: string, content: string | Uint8Array, mode = 0o644) => {
    const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const digest = await store.put(data);
    builder.add(path, { type: 'file', mode, uid: 0, gid: 0, mtime: time, digest, sizeBytes: data.length }, 'dpkg database');
  };
  const stanzas: string[] = [];
  for (const { name, control, paths } of packages) {
    const stanza = decoder.decode(control.get('control') ?? new Uint8Array()).trimEnd();
    if (fieldOf(stanza, 'Package') !== name) throw new VmError('bad-image', `the package ${name} says it is ${fieldOf(stanza, 'Package')}`);
    const conffiles = decoder.decode(control.get('conffiles') ?? new Uint8Array()).split('\n');
    const sums = new Map<string, string>();
    for (const line of decoder.decode(control.get('md5sums') ?? new Uint8Array()).split('\n'))
      sums.set(`/${line.slice(34)}`, line.slice(0, 32));
    const listed = conffiles.filter((path) => path.startsWith('/') && sums.has(path)).map((path) => `\n ${path} ${sums.get(path)}`);
    const [first, ...rest] = stanza.split('\n');
    stanzas.push([first, 'Status: install ok installed', ...rest, ...(listed.length ? [`Conffiles:${listed.join('')}`] : [])].join('\n'));

    const base = `var/lib/dpkg/info/${fieldOf(stanza, 'Multi-Arch') === 'same' ? `${name}:${fieldOf(stanza, 'Architecture')}` : name}`;
    const lines = paths.map((path) => `/${path.replace(/^\.?\/+/, '').replace(/\/+$/, '')}`.replace(/^\/$/, '/.'));
    await put(`${base}.list`, `${lines.join('\n')}\n`);
    for (const [file, data] of control) {
      // symbols and shlibs serve the building of packages only, and are large.
      if (!['control', 'symbols', 'shlibs'].includes(file) && /^[a-z0-9]+$/.test(file))
        await put(`${base}.${file}`, data, /^(pre|post)(inst|rm)$|^config$/.test(file) ? 0o755 : 0o644);
    }
  }
  await put('var/lib/dpkg/status', `${stanzas.join('\n\n')}\n\n`);
  await put('var/lib/dpkg/info/format', '1\n');
  await put('var/lib/dpkg/available', '');
  await put('var/lib/dpkg/diversions', '');
  await put('var/lib/dpkg/statoverride', '');
}
