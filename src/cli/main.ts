/** The command line: finds the verb, turns failures into messages and exit codes. */
import { constants } from 'node:os';
import { VmError } from '../base/errors.ts';
import { parseVerb, type ParsedArguments } from './arguments.ts';
import { EXIT_FAILURE, EXIT_OK, EXIT_OURS, EXIT_SIGNAL, EXIT_USAGE } from './exit-codes.ts';
import { nodeHost, type Host } from './host.ts';
import { nearest } from './nearest.ts';
import { isVerb, USAGES, VERB_NAMES, type VerbName } from './usage/table.ts';
import { helpOf } from './usage/usage.ts';

const HELP = `Daybreak: try today's build of an operating system in a virtual machine of its own.

Usage: daybreak VERB [options]

Verbs:
${VERB_NAMES.flatMap((name) => USAGES[name].summary.map(([call, does]) => `  ${call.padEnd(16)} ${does}\n`)).join('')}
Exit status: 0 fine, 1 failure, 2 wrong usage, 125 our own failure in "try … -- COMMAND", 128 + N ended by signal N;
else what the command in the machine ended with. NO_COLOR is honoured; downloads go to XDG_CACHE_HOME/daybreak,
snapshots to XDG_DATA_HOME/daybreak.
`;

/** Not a verb: what shells' completion calls. */
const COMPLETE = '__complete';

declare const DAYBREAK_VERSION: string | undefined;

type Run = (host: Host, parsed: ParsedArguments) => Promise<number>;

/** Loaded when they are wanted: each brings libraries along that the others need not wait for. */
const VERBS: Readonly<Record<VerbName, () => Promise<Run>>> = {
  try: async () => (await import('./verbs/try.ts')).tryVerb,
  boot: async () => (await import('./verbs/boot.ts')).bootVerb,
  ps: async () => (await import('./verbs/ps.ts')).psVerb,
  stop: async () => (await import('./verbs/stop.ts')).stopVerb,
  keep: async () => (await import('./verbs/keep.ts')).keepVerb,
  rm: async () => (await import('./verbs/rm.ts')).rmVerb,
  build: async () => (await import('./verbs/build.ts')).buildVerb,
  list: async () => (await import('./verbs/list.ts')).listVerb,
  info: async () => (await import('./verbs/info.ts')).infoVerb,
  diff: async () => (await import('./verbs/diff.ts')).diffVerb,
  export: async () => (await import('./verbs/export.ts')).exportVerb,
  prune: async () => (await import('./verbs/prune.ts')).pruneVerb,
  search: async () => (await import('./verbs/search.ts')).searchVerb,
  pull: async () => (await import('./verbs/pull.ts')).pullVerb,
  update: async () => (await import('./verbs/pull.ts')).updateVerb,
  publish: async () => (await import('./verbs/publish.ts')).publishVerb,
  verify: async () => (await import('./verbs/verify.ts')).verifyVerb,
  serve: async () => (await import('./verbs/serve.ts')).serveVerb,
  doctor: async () => (await import('./verbs/doctor.ts')).doctorVerb,
  completion: async () => (await import('./verbs/completion.ts')).completionVerb,
  help: async () => helpVerb,
  version: async () => versionVerb,
};

export async function main(host: Host, args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined) {
    print(host, HELP);
    return EXIT_USAGE;
  }
  if (first === COMPLETE) {
    // A shell is in the middle of a line: whatever is wrong, it wants to hear nothing of it.
    await (await import('./verbs/completion.ts')).printCompletion(host, rest).catch(() => {});
    return EXIT_OK;
  }
  const verb = ({ '--help': 'help', '-h': 'help', '--version': 'version' } as const)[first] ?? first;
  try {
    if (!isVerb(verb)) throw noVerb(verb);
    const parsed = parseVerb(verb, rest, USAGES[verb]);
    if (parsed.values['help']) {
      print(host, helpOf(verb, USAGES[verb]));
      return EXIT_OK;
    }
    const run = await VERBS[verb]();
    const status = await run(host, parsed);
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

async function helpVerb(host: Host, { positionals }: ParsedArguments): Promise<number> {
  const [verb, ...more] = positionals;
  if (more.length > 0) throw new VmError('usage', `help: unexpected argument ${more[0]}`);
  if (verb !== undefined && !isVerb(verb)) throw noVerb(verb);
  print(host, verb === undefined ? HELP : helpOf(verb, USAGES[verb]));
  return EXIT_OK;
}

async function versionVerb(host: Host): Promise<number> {
  print(host, `${typeof DAYBREAK_VERSION === 'string' ? DAYBREAK_VERSION : 'unknown'}\n`);
  return EXIT_OK;
}

function noVerb(name: string): VmError {
  const meant = nearest(name, VERB_NAMES);
  return new VmError('usage', `there is no verb ${name} (${meant === undefined ? '' : `did you mean ${meant}? `}daybreak --help)`);
}

function print(host: Host, content: string): void {
  host.terminal.write(new TextEncoder().encode(content));
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
