/** Usage of the verbs that hand snapshots to others, and get them from there. */
import type { OptionUsage, Usage } from './usage.ts';

export const PACKING_LEVEL = 9;
export const GRACE_HOURS = 48;

const TRUST: OptionUsage = { value: 'DIGEST', words: 'anything', about: "the publisher's fingerprint; needed the first time" };

export const SEARCH: Usage = {
  summary: [['search WORD', 'what is published']],
  synopsis: ['[WORD…] [options]'],
  about: `The snapshots that are published at PLACE, or wherever something was pulled from before: of each name the newest day, its size, and
whether it is on this computer. With WORDs, those that have all of them in their name, day, title or kernel.`,
  operands: ['anything'],
  repeats: true,
  options: {
    from: { value: 'PLACE', words: 'place', about: 'look there: an address, oci://HOST/REPOSITORY or a directory' },
    trust: TRUST,
    days: { about: 'every day, not only the newest of each name' },
    json: { about: 'one line of JSON for each day' },
  },
};

export const PULL: Usage = {
  summary: [['pull NAME', 'bring a published snapshot here, verified']],
  synopsis: ['NAME[@DAY] [options]'],
  about: `Brings a published day to this computer: fetches what is not here, verifies everything, and lists it like one that was built here. What
interrupts it does not matter: the next time goes on from there.`,
  operands: ['snapshot'],
  options: {
    from: {
      value: 'PLACE',
      words: 'place',
      about: 'where it is published: an address, oci://HOST/REPOSITORY or a directory (default: where the name came from before)',
    },
    trust: TRUST,
    'no-state': { about: 'leave the booted state where it is: a machine then boots' },
    json: { about: 'what it came to, as one line of JSON' },
  },
};

export const UPDATE: Usage = {
  summary: [['update', 'bring the latest day of what was pulled: only what has changed']],
  synopsis: ['[NAME…] [options]'],
  about: `Brings the latest day of each NAME to this computer, or of all that were pulled before: only what has changed, as patches where these
are smaller. The booted state comes along where that of the day before did.`,
  operands: ['snapshot'],
  repeats: true,
  options: {
    'no-state': { about: 'leave booted states where they are' },
    json: { about: 'what each came to, as one line of JSON' },
  },
};

export const PUBLISH: Usage = {
  summary: [['publish NAME', 'hand a snapshot to others, signed']],
  synopsis: ['NAME[@DAY] PLACE [options]', '--renew|--collect|--rotate ROLE PLACE [options]'],
  about: `Publishes a snapshot of this computer at PLACE, a directory, s3://BUCKET/PREFIX or oci://HOST/REPOSITORY: what is new as
packs, its booted state among it, an index, a signed list. Any web server can offer the directory; readers see the old
state or the new one, never a part. The first time, it makes keys.`,
  operands: ['local snapshot', 'directory'],
  options: {
    keys: { value: 'DIR', words: 'directory', about: 'the secret keys (default: XDG_DATA_HOME/daybreak/keys)' },
    'keep-days': { value: 'N', words: 'anything', about: 'of this name, list only the N newest days from now on' },
    level: { value: 'N', words: 'anything', about: `of zstd, 1 to 19 (default: ${PACKING_LEVEL})` },
    'no-state': { about: 'leave the booted state out: readers then boot' },
    record: { about: 'boot it once, and publish in which order it asks for its contents: those are fetched ahead' },
    renew: { about: 'nothing new: sign what is published there for another while' },
    rotate: {
      value: 'ROLE',
      words: ['root', 'targets', 'snapshot', 'timestamp'],
      about: "give root, targets, snapshot or timestamp a new key; needs the root's",
    },
    collect: { about: 'remove what no listed day has needed for a while, unless that is more than half' },
    grace: { value: 'HOURS', words: 'anything', about: `of --collect: how long (default: ${GRACE_HOURS})` },
    'even-much': { about: 'of --collect: also when it is more than half' },
    json: { about: 'what was published, as one line of JSON' },
  },
};

export const VERIFY: Usage = {
  summary: [['verify PLACE', 'check all that is published somewhere']],
  synopsis: ['PLACE [options]'],
  about: `Checks what is published at PLACE, a directory, an address or oci://HOST/REPOSITORY, as a reader would, to the last
content: signatures and their time, lists, indexes, packs. Everything is read once.`,
  operands: ['place'],
  options: {
    trust: { value: 'DIGEST', words: 'anything', about: "the publisher's fingerprint; without it, it is printed" },
    json: { about: 'what was found, as one line of JSON' },
  },
  after: 'Exit status: 0 when all is well, 1 when something is not.',
};
