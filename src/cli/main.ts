/** The command line: finds the verb, turns failures into messages and exit codes. */
import { constants } from 'node:os';
import { VmError } from '../base/errors.ts';
import { EXIT_FAILURE, EXIT_OK, EXIT_OURS, EXIT_SIGNAL, EXIT_USAGE } from './exit-codes.ts';
import { nodeHost, type Host } from './host.ts';

const HELP = `Daybreak: try today's build of an operating system in a virtual machine of its own.

Usage: daybreak VERB [options]

Verbs:
  try debian      today's Debian unstable, in a shell; nothing of it stays; the snapshot debian, where there is one
  try NAME@DAY    a snapshot: one that was built or pulled here, or a published one
  boot            start a kernel of your own
  build NAME      make a snapshot of a recipe: debian, debian/trixie, ./my-recipe.toml
  list            the snapshots on this computer
  info NAME       what is known of one
  diff A B        what changed between two: packages, files, sizes
  pull NAME       bring a published snapshot here, verified
  update          bring the latest day of what was pulled: only what has changed
  prune           remove what no snapshot needs
  publish NAME    hand a snapshot to others, signed
  verify PLACE    check all that is published somewhere
  serve           offer the page that runs machines in a browser
  doctor          say whether machines can run on KVM here
  help VERB       more about a verb
  version         print the version

Exit status: 0 fine, 1 failure, 2 wrong usage, 125 our own failure in "try … -- COMMAND", 128 + N ended by signal N;
else what the command in the machine ended with. NO_COLOR is honoured; downloads go to XDG_CACHE_HOME/daybreak,
snapshots to XDG_DATA_HOME/daybreak.
`;

declare const DAYBREAK_VERSION: string | undefined;

interface Verb {
  readonly run: (host: Host, args: readonly string[]) => Promise<number>;
  readonly help: string;
}

/** Loaded when they are wanted: each brings libraries along that the others need not wait for. */
const VERBS: Readonly<Record<string, () => Promise<Verb>>> = {
  try: async () => {
    const { tryVerb, TRY_HELP } = await import('./verbs/try.ts');
    return { run: tryVerb, help: TRY_HELP };
  },
  boot: async () => {
    const { bootVerb, BOOT_HELP } = await import('./verbs/boot.ts');
    return { run: bootVerb, help: BOOT_HELP };
  },
  build: async () => {
    const { buildVerb, BUILD_HELP } = await import('./verbs/build.ts');
    return { run: buildVerb, help: BUILD_HELP };
  },
  list: async () => {
    const { listVerb, LIST_HELP } = await import('./verbs/list.ts');
    return { run: listVerb, help: LIST_HELP };
  },
  info: async () => {
    const { infoVerb, INFO_HELP } = await import('./verbs/info.ts');
    return { run: infoVerb, help: INFO_HELP };
  },
  diff: async () => {
    const { diffVerb, DIFF_HELP } = await import('./verbs/diff.ts');
    return { run: diffVerb, help: DIFF_HELP };
  },
  prune: async () => {
    const { pruneVerb, PRUNE_HELP } = await import('./verbs/prune.ts');
    return { run: pruneVerb, help: PRUNE_HELP };
  },
  pull: async () => {
    const { pullVerb, PULL_HELP } = await import('./verbs/pull.ts');
    return { run: pullVerb, help: PULL_HELP };
  },
  update: async () => {
    const { updateVerb, UPDATE_HELP } = await import('./verbs/pull.ts');
    return { run: updateVerb, help: UPDATE_HELP };
  },
  publish: async () => {
    const { publishVerb, PUBLISH_HELP } = await import('./verbs/publish.ts');
    return { run: publishVerb, help: PUBLISH_HELP };
  },
  verify: async () => {
    const { verifyVerb, VERIFY_HELP } = await import('./verbs/verify.ts');
    return { run: verifyVerb, help: VERIFY_HELP };
  },
  serve: async () => {
    const { serveVerb, SERVE_HELP } = await import('./verbs/serve.ts');
    return { run: serveVerb, help: SERVE_HELP };
  },
  doctor: async () => {
    const { doctorVerb, DOCTOR_HELP } = await import('./verbs/doctor.ts');
    return { run: doctorVerb, help: DOCTOR_HELP };
  },
};

export async function main(host: Host, args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
    const about = verb === 'help' ? findVerb(rest[0] ?? '') : undefined;
    print((await about?.())?.help ?? HELP);
    return verb === undefined ? EXIT_USAGE : EXIT_OK;
  }
  if (verb === 'version' || verb === '--version') {
    print(`${typeof DAYBREAK_VERSION === 'string' ? DAYBREAK_VERSION : 'unknown'}\n`);
    return EXIT_OK;
  }
  try {
    const load = findVerb(verb);
    if (!load) throw new VmError('usage', `there is no verb ${verb} (daybreak --help)`);
    const { run } = await load();
    const status = await run(host, rest);
    return host.signal.aborted ? signalStatus(host.signal) : status;
  } catch (error) {
    host.messages.clear();
    if (host.signal.aborted) return signalStatus(host.signal);
    if (!(error instanceof VmError)) throw error;
    host.messages.error(error.message);
    if (error.code === 'usage') return EXIT_USAGE;
    return verb === 'try' && rest.includes('--') ? EXIT_OURS : EXIT_FAILURE;
  }
}

function findVerb(name: string): (() => Promise<Verb>) | undefined {
  return Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
}

function signalStatus(signal: AbortSignal): number {
  const name = String(signal.reason) as keyof typeof constants.signals;
  return EXIT_SIGNAL + (constants.signals[name] ?? 0);
}

/** Runs `main` for this process. A second signal of the same kind ends it at once. */
export async function runProcess(): Promise<void> {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (abort.signal.aborted) process.exit(EXIT_SIGNAL + constants.signals[name]);
      abort.abort(name);
    });
  }
  const host = nodeHost(abort.signal);
  const status = await main(host, process.argv.slice(2));
  await host.terminal.drained();
  process.exit(status);
}
