/** Usage of the verbs that run machines. */
import { DEFAULT_MIRROR } from '../../snapshots/debian/apt-sources.ts';
import type { OptionUsage, Usage } from './usage.ts';

export const ESCAPE_HINT = 'Ctrl-] q leaves';

/** How long `stop` waits for a guest. */
export const STOP_SECONDS = 60;

export const ACCELERATORS = ['auto', 'jit', 'interpreter', 'kvm'] as const;

const MACHINE: Readonly<Record<'stats' | 'json' | 'jit-log' | 'symbols', OptionUsage>> = {
  stats: { about: 'print what the processor has done, at the end, on standard error' },
  json: { about: '… as one line of JSON' },
  'jit-log': { value: 'FILE', words: 'file', about: 'write what the compiler does to a file, a line each' },
  symbols: {
    value: 'FILE',
    words: 'file',
    about: 'name compiled code by a System.map or kallsyms, in the log and for profilers',
  },
};

export const TRY: Usage = {
  summary: [
    ['try debian', "today's Debian unstable, in a shell; nothing of it stays; the snapshot debian, where there is one"],
    ['try NAME@DAY', 'a snapshot: one that was built or pulled here, or a published one'],
  ],
  synopsis: ['debian|NAME[@DAY] [options] [-- COMMAND ARGUMENT…]'],
  about: `Starts a snapshot of this computer at a root shell, in a virtual machine of its own: goes on from its booted state, where it has
one. Nothing of it stays: what the machine writes goes when it ends. With a COMMAND, runs that instead and exits with its status;
where there is no booted state it runs alone, without the system's services. With --from, it is a snapshot as it is published, which
starts before its contents are here.

When there is no snapshot of that name, "try debian" fetches today's Debian unstable, verifies it, and starts a small system of it;
so it does with --mirror, --offline, --strict and --allow-older. "daybreak build debian" makes the full system.`,
  operands: ['snapshot'],
  command: true,
  options: {
    cold: { about: 'boot, though there is a booted state' },
    keep: { value: 'NAME', words: 'kept', about: 'keep what the machine writes under this name, and go on with it the next time' },
    name: { value: 'NAME', words: 'anything', about: 'what daybreak ps calls the machine (default: a name that is free)' },
    from: {
      value: 'PLACE',
      words: 'place',
      about: 'start a published snapshot: an address, oci://HOST/REPOSITORY or a directory; of a machine that is kept, fetch from there',
    },
    trust: { value: 'DIGEST', words: 'anything', about: "the publisher's fingerprint; needed the first time" },
    mirror: { value: 'URL', words: 'anything', about: `Debian mirror (default: the one this system uses, else ${DEFAULT_MIRROR})` },
    memory: {
      value: 'SIZE',
      words: 'anything',
      about: "the machine's memory, in MiB or with a unit (default: 512; of a snapshot 1G, or that of its booted state)",
    },
    offline: { about: 'use only what is in the cache' },
    strict: { about: 'refuse a mirror whose state has passed its date' },
    'allow-older': { about: 'accept a state older than one already seen from that mirror' },
    append: { value: 'TEXT', words: 'anything', about: "add to the kernel's command line" },
    accel: {
      value: 'NAME',
      words: ACCELERATORS,
      about: 'jit, interpreter, kvm; auto: kvm where it works, else jit (default: jit; auto for a snapshot of this computer)',
    },
    ...MACHINE,
  },
  after: `In the shell: exit or Ctrl-D ends it (poweroff does, of a published snapshot), ${ESCAPE_HINT}.
Exit status: that of the COMMAND or the shell; 125 when daybreak itself fails and there is a COMMAND.`,
};

export const BOOT: Usage = {
  summary: [['boot', 'start a kernel of your own']],
  synopsis: ['--kernel FILE [options]', '--restore FILE [options]'],
  about: `Starts a machine with this kernel: a Linux bzImage, an ELF with a PVH note, or a multiboot ELF. Or goes on with a machine
that was saved.`,
  operands: [],
  options: {
    kernel: { value: 'FILE', words: 'file', about: 'the kernel' },
    initrd: {
      value: 'FILE',
      words: 'file',
      multiple: true,
      about: 'an initial RAM disk; may be given several times, they follow each other',
    },
    append: { value: 'TEXT', words: 'anything', about: "the kernel's command line" },
    memory: { value: 'SIZE', words: 'anything', about: 'in MiB or with a unit: 512, 2G (default: 512)' },
    cpus: { value: 'N', words: 'anything', about: 'processors, with --accel kvm (default: 1)' },
    disk: { value: 'FILE[,ro]', words: 'file', multiple: true, about: 'a raw disk image; may be given several times' },
    fs: {
      value: 'TAG=DIR',
      words: 'anything',
      multiple: true,
      about: 'a directory as a virtio-fs file system with this tag; what the guest writes there is thrown away; may be given several times',
    },
    cpu: {
      value: 'MODEL',
      words: ['x86-64', 'x86-64-v2', 'x86-64-v3', 'portable', 'max', 'host'],
      about: 'x86-64, x86-64-v2, x86-64-v3, portable, max; under KVM also host, which cannot move (default: max)',
    },
    accel: { value: 'NAME', words: ACCELERATORS, about: 'jit, interpreter, kvm; auto: kvm where it works, else jit (default: jit)' },
    serial: { value: 'WHERE', words: ['stdio', 'none', 'file:'], about: 'the first serial port: stdio, file:FILE, none (default: stdio)' },
    save: { value: 'FILE', words: 'file', about: 'Ctrl-] s saves the machine to FILE and quits; so do signals that end daybreak' },
    'save-when': { value: 'TEXT', words: 'anything', about: '… and so does TEXT on the serial port' },
    restore: {
      value: 'FILE',
      words: 'file',
      about: 'go on from a saved state, with the same disks; memory and CPU are those of the state',
    },
    name: { value: 'NAME', words: 'anything', about: 'what daybreak ps calls the machine (default: a name that is free)' },
    'no-reboot': { about: 'a reset ends the machine' },
    'debug-exit': { about: 'add the isa-debug-exit device at port 0xf4' },
    ...MACHINE,
  },
  after: `On a terminal, ${ESCAPE_HINT}.
Exit status: 0 the guest powered off, or was left by the escape key; (VALUE << 1) | 1 by debug-exit;
1 daybreak failed, or the guest reset under --no-reboot; 2 wrong usage; 128 + N ended by signal N; 141 nobody reads the
serial port's output any more.`,
};

export const PS: Usage = {
  summary: [['ps', 'the machines that run; with --all, those that are kept, too']],
  synopsis: ['[options]'],
  about: `The machines of "try" and "boot" that you run, in whatever terminal: what they are of, since when they run, what executes them, their
memory, their process, and whether what they write is kept.`,
  operands: [],
  options: {
    all: { about: 'also those that are kept and do not run, and how much each has written' },
    json: { about: 'one line of JSON for each' },
  },
};

export const STOP: Usage = {
  summary: [['stop NAME', 'ask a machine to power off, then pull the plug']],
  synopsis: ['NAME… [options]', '--all [options]', 'NAME --save [FILE]'],
  about: `Presses the machine's power button, so that its system shuts down in its own way, and tells how it ended. NAME is what daybreak ps
shows, or the number of its process. A system that does not power off in time, or has nothing that listens to the button, is ended as
by pulling the plug; what it had not written out is lost then. One that is thrown away anyway and does not listen is not waited for.
With --save, a machine of "try" is saved as it stands and kept under its name, and daybreak try --keep NAME goes on where it was.`,
  operands: ['running'],
  repeats: true,
  options: {
    all: { about: 'every machine that runs' },
    timeout: { value: 'SECONDS', words: 'anything', about: `how long its system has to power off (default: ${STOP_SECONDS})` },
    now: { about: 'pull the plug at once' },
    save: { about: 'instead, save its state and end it; of a machine of "daybreak boot" to FILE, for daybreak boot --restore FILE' },
  },
  after: 'Exit status: 0 when all of them have ended, 1 when one has not.',
};

export const KEEP: Usage = {
  summary: [['keep NAME', 'keep what a machine writes that would be thrown away']],
  synopsis: ['NAME [NEW-NAME]'],
  about: `Makes a machine that runs one that is kept, as if it had been started with --keep: when it ends, its system is shut down, and what it has
written stays under its name, or under NEW-NAME. It is for machines of snapshots that came to a root shell's prompt.`,
  operands: ['running', 'anything'],
  options: {},
};

export const RM: Usage = {
  summary: [['rm NAME', 'remove a machine that is kept']],
  synopsis: ['NAME…'],
  about: `Removes machines that are kept. One that runs is not removed: stop it first. What only they needed is freed by daybreak prune.`,
  operands: ['kept'],
  repeats: true,
  options: {},
};
