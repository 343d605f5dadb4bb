/** The command line: finds the verb, turns failures into messages and exit codes. */
import { constants } from 'node:os';
import { VmError } from '../base/errors.ts';
import { EXIT_FAILURE, EXIT_OK, EXIT_OURS, EXIT_SIGNAL, EXIT_USAGE } from './exit-codes.ts';
import { nodeHost, type Host } from './host.ts';
import { BOOT_HELP, bootVerb } from './verbs/boot.ts';
import { BUILD_HELP, buildVerb } from './verbs/build.ts';
import { DIFF_HELP, diffVerb } from './verbs/diff.ts';
import { DOCTOR_HELP, doctorVerb } from './verbs/doctor.ts';
import { INFO_HELP, infoVerb } from './verbs/info.ts';
import { LIST_HELP, listVerb } from './verbs/list.ts';
import { PRUNE_HELP, pruneVerb } from './verbs/prune.ts';
import { SERVE_HELP, serveVerb } from './verbs/serve.ts';
import { TRY_HELP, tryVerb } from './verbs/try.ts';

const HELP = `Daybreak: try today's build of an operating system in a virtual machine of its own.

Usage: daybreak VERB [options]

Verbs:
  try debian      today's Debian unstable, in a shell; nothing of it stays
  boot            start a kernel of your own
  build NAME      make a snapshot of a recipe: debian, debian/trixie, ./my-recipe.toml
  list            the snapshots on this computer
  info NAME       what is known of one
  diff A B        what changed between two: packages, files, sizes
  prune           remove what no snapshot needs
  serve           offer the page that runs machines in a browser
  doctor          say whether machines can run on KVM here
  help VERB       more about a verb
  version         print the version

Exit status: 0 fine, 1 failure, 2 wrong usage, 125 our own failure in "try … -- COMMAND", 128 + N ended by signal N;
else what the command in the machine ended with. NO_COLOR is honoured; downloads go to XDG_CACHE_HOME/daybreak,
snapshots to XDG_DATA_HOME/daybreak.
`;

declare const DAYBREAK_VERSION: string | undefined;

const VERBS: Record<string, { run: (host: Host, args: readonly string[]) => Promise<number>; help: string }> = {
  try: { run: tryVerb, help: TRY_HELP },
  boot: { run: bootVerb, help: BOOT_HELP },
  build: { run: buildVerb, help: BUILD_HELP },
  list: { run: listVerb, help: LIST_HELP },
  info: { run: infoVerb, help: INFO_HELP },
  diff: { run: diffVerb, help: DIFF_HELP },
  prune: { run: pruneVerb, help: PRUNE_HELP },
  serve: { run: serveVerb, help: SERVE_HELP },
  doctor: { run: doctorVerb, help: DOCTOR_HELP },
};

export async function main(host: Host, args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
    const about = verb === 'help' ? VERBS[rest[0] ?? ''] : undefined;
    print(about?.help ?? HELP);
    return verb === undefined ? EXIT_USAGE : EXIT_OK;
  }
  if (verb === 'version' || verb === '--version') {
    print(`${typeof DAYBREAK_VERSION === 'string' ? DAYBREAK_VERSION : 'unknown'}\n`);
    return EXIT_OK;
  }
  try {
    const found = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!found) throw new VmError('usage', `there is no verb ${verb} (daybreak --help)`);
    const status = await found.run(host, rest);
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
