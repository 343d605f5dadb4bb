/** Usage of the verbs that make snapshots and look after those on this computer. */
import { DEFAULT_MIRROR } from '../../snapshots/debian/apt-sources.ts';
import { ACCELERATORS } from './running.ts';
import type { Usage } from './usage.ts';

export const BUILD: Usage = {
  summary: [['build NAME', 'make a snapshot of a recipe: debian, debian/trixie, ./my-recipe.toml']],
  synopsis: ['NAME|FILE.toml [options]'],
  about: `Makes today's snapshot of a recipe: resolves its packages, fetches and verifies them, unpacks them here, lets their own
scripts configure them inside a machine, boots the result and asks it what the recipe wants to know. The same recipe and
lock give the same tree. What a recipe builds on is built first. Nothing is done when the same is there already.`,
  operands: ['recipe'],
  options: {
    mirror: { value: 'URL', words: 'anything', about: `Debian mirror (default: the one this system uses, else ${DEFAULT_MIRROR})` },
    lock: { value: 'FILE', words: 'file', about: 'build exactly what this lock says' },
    'write-lock': { value: 'FILE', words: 'file', about: 'write the lock of what was built' },
    force: { about: 'build again what is there already' },
    'no-probe': { about: 'do not boot the finished tree' },
    accel: { value: 'NAME', words: ACCELERATORS, about: 'jit, interpreter, kvm; auto: kvm where it works, else jit (default: auto)' },
    log: { value: 'FILE', words: 'file', about: 'write all that the machines print to a file' },
    offline: { about: 'use only what is in the cache' },
    strict: { about: 'refuse a mirror whose state has passed its date' },
    'allow-older': { about: 'accept a state older than one already seen from that mirror' },
    json: { about: "print the snapshot's record as JSON" },
  },
};

export const LIST: Usage = {
  summary: [['list', 'the snapshots on this computer']],
  synopsis: ['[NAME] [options]'],
  about: 'The snapshots on this computer, or those of one name, newest first; and the machines of them, that run or are kept.',
  operands: ['local snapshot'],
  options: { json: { about: 'one line of JSON for each' } },
};

export const INFO: Usage = {
  summary: [['info NAME', 'what is known of one, here or published']],
  synopsis: ['NAME[@DAY] [options]'],
  about: `What is known of a snapshot on this computer: where it comes from, what is in it, what it was asked. DAY is latest (default), -1 for
the one before, a date such as 2026-10-30, or the beginning of a tree's digest. With --from, it is one that is published.`,
  operands: ['local snapshot'],
  options: {
    from: { value: 'PLACE', words: 'place', about: 'of one that is published there: an address, oci://HOST/REPOSITORY or a directory' },
    trust: { value: 'DIGEST', words: 'anything', about: "with --from: the publisher's fingerprint; needed the first time" },
    packages: { about: 'all packages with their versions' },
    lock: { about: 'its lock, for daybreak build --lock' },
    json: { about: 'all of it as one line of JSON' },
  },
};

export const DIFF: Usage = {
  summary: [['diff A B', 'what changed between two: packages, files, sizes']],
  synopsis: ['A B [options]'],
  about: `What changed from snapshot A to snapshot B, both on this computer: packages, then files with the package that each belongs to,
then sizes. A name alone is its newest day; debian@-1 is the one before.`,
  operands: ['local snapshot', 'local snapshot'],
  options: {
    files: { about: 'every file that changed, not only how many of each package' },
    json: { about: 'all of it as JSON' },
  },
};

export const EXPORT: Usage = {
  summary: [['export NAME F', 'write a snapshot or a kept machine to a file: a disk that boots by itself, or an archive']],
  synopsis: ['NAME[@DAY] FILE [options]'],
  about: `Writes a snapshot of this computer, or what a machine that is kept has left, to FILE: as a disk that boots by itself, by BIOS or
UEFI, in QEMU, libvirt and others (.qcow2, .raw, .img), or as an archive of its files (.tar, .tar.zst). It needs no other program
and no rights. FILE appears when it is whole.`,
  operands: ['local snapshot', 'file'],
  options: {
    format: {
      value: 'NAME',
      words: ['qcow2', 'raw', 'tar', 'tar.zst'],
      about: 'qcow2, raw, tar or tar.zst (default: as the name of FILE ends)',
    },
    kept: { about: 'NAME is a machine that is kept, though there is a snapshot of that name' },
    size: {
      value: 'SIZE',
      words: 'anything',
      about: 'of the disk, such as 20G (default: what is in it and 8 GiB more); what is empty takes no room in FILE',
    },
    append: { value: 'TEXT', words: 'anything', about: "add to the kernel's command line" },
    force: { about: 'replace FILE when it is there' },
    json: { about: 'what was written, as one line of JSON' },
  },
};

export const PRUNE: Usage = {
  summary: [['prune', 'remove what no snapshot needs']],
  synopsis: ['[options]'],
  about: `Removes contents that no snapshot on this computer needs and that nobody has asked for within a day, those of interrupted
builds for instance.`,
  operands: [],
  options: {
    'keep-days': { value: 'N', words: 'anything', about: 'first remove all but the N newest days of each name' },
    'keep-size': {
      value: 'SIZE',
      words: 'anything',
      about: 'leave that much of what is not needed, the latest: an interrupted build finds its work again (default: 0)',
    },
    json: { about: 'what was removed, as one line of JSON' },
  },
};
