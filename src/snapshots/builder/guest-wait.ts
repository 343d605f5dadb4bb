/**
 * Waiting for what a guest is to do: says so while it takes long, and gives up as soon as the guest has clearly stopped, with an error
 * that says what it has come to and what would help.
 */
import { VmError } from '../../base/errors.ts';
import type { MachineEnd } from '../../machine/machine.ts';
import { plain, type ConsoleTail } from './console-tail.ts';
import type { BuildHost, BuildMachine } from './host.ts';

export interface GuestWait {
  /** What is waited for, as a person says it: `the root shell's prompt`. */
  readonly wanted: string;
  /** A guest that does nothing any more will not give it, either. Of a command that may sleep that cannot be said. */
  readonly failsAtRest: boolean;
}

/** Nothing takes so long, on any host, but what hangs. */
const LONGEST_MS = 30 * 60_000;
const CHECK_MS = 5000;
/** Told first after so long, then each time that twice as much has passed. */
const FIRST_WORD_MS = 60_000;
/** A guest that prints nothing and executes less than this is at rest: Linux's own timers need a hundredth. */
const REST_INSTRUCTIONS_PER_MS = 2000;
/** At rest where it waits for a person. */
const REST_KNOWN_MS = 10_000;
/** At rest for another reason: systemd gives a device or a service 90 seconds of the guest's time, which is real time while it rests. */
const REST_UNKNOWN_MS = 180_000;
const SHOWN_LINES = 15;
/** A panic prints registers and calls behind what it is. */
const SEARCHED_LINES = 200;

const AUTOLOGIN = 'recipes/debian.toml shows how root is logged in there by itself (serial-getty@.service.d/autologin.conf)';
const EMERGENCY =
  'one of the units that it cannot start without has failed, for example a file system in /etc/fstab that is not there; what it printed before (--log FILE keeps it) names the unit';

interface Stop {
  readonly means: string;
  readonly help: string;
}

/** Lines of guests that come no further. */
const STOPS: readonly (readonly [line: RegExp, means: string, help: string])[] = [
  [
    /Kernel panic.*(Requested init|No working init)/,
    'its kernel finds no program to start',
    'the tree needs an init system: "systemd-sysv" among the recipe\'s packages brings it',
  ],
  [
    /Kernel panic.*(mount root|root device)/,
    'its kernel cannot mount its root',
    "the kernel must have virtio-fs built in, as Debian's kernels since trixie have",
  ],
  [/Kernel panic.*kill init/, 'its process 1 has ended', 'what it printed before that (--log FILE keeps it) tells why'],
  [/Kernel panic/, 'its kernel panicked', 'another kernel in the recipe, or another day, may do better'],
  [/Freezing execution|freezing\./, 'its systemd has given up', EMERGENCY],
  [/You are in (emergency|rescue) mode|the root account is locked|(password|Enter) for maintenance/, 'it is in emergency mode', EMERGENCY],
];
/** Last lines of guests that wait for a person. */
const QUESTIONS: typeof STOPS = [
  [/login: ?$/, 'it asks who wants to log in, and nobody is there', AUTOLOGIN],
  [/Password: ?$/, 'it asks for a password, and nobody is there', AUTOLOGIN],
  [/\$ $/, "it has a shell that is not root's", AUTOLOGIN],
];
const RESTS: Stop = {
  means: 'it does nothing any more',
  help: 'it may have halted, or wait for what a machine without a network and a person does not have; --log FILE keeps all that it printed',
};

/**
 * What comes of `work` of a machine. Rejects with a VmError that has its last words when the machine ends before, has come to rest
 * where it will not, or takes too long for anything but what hangs.
 */
export async function within<T>(host: BuildHost, machine: BuildMachine, tail: ConsoleTail, wait: GuestWait, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const stop = () => over.abort();
  host.signal?.addEventListener('abort', stop, { once: true });
  try {
    const ended = machine.ended.then((end) => {
      if (end.kind === 'failed') throw end.error;
      const stop = stopOf(tail);
      throw failure(`the machine ended before ${wait.wanted}`, stop ?? { means: ENDS[end.kind], help: undefined }, tail);
    });
    return await Promise.race([work, ended, watch(host, machine, tail, wait, over.signal)]);
  } finally {
    host.signal?.removeEventListener('abort', stop);
    over.abort();
  }
}

const ENDS: Readonly<Record<Exclude<MachineEnd['kind'], 'failed'>, string>> = {
  poweroff: 'it powered itself off',
  reset: 'it restarted',
  stopped: 'it was stopped',
  'debug-exit': 'it asked for its end',
};

/** What is wrong when the shell whose prompt is shown is that of a system that has not come up. */
export function inEmergency(tail: ConsoleTail): VmError | undefined {
  const stop = stopOf(tail);
  return stop?.help === EMERGENCY ? failure("the machine came to a shell's prompt, but not to a running system", stop, tail) : undefined;
}

/** Never resolves; rejects when it is not worth waiting any longer. */
async function watch(host: BuildHost, machine: BuildMachine, tail: ConsoleTail, wait: GuestWait, over: AbortSignal): Promise<never> {
  const { clock } = host;
  const beganMs = clock.nowMs();
  const rest = new Rest(machine, tail, beganMs);
  let wordMs = FIRST_WORD_MS;
  while (!over.aborted) {
    await clock.sleep(CHECK_MS, over);
    if (over.aborted) break;
    const nowMs = clock.nowMs();
    const stop = rest.look(nowMs);
    if (wait.failsAtRest && stop) throw failure(`the machine does not come to ${wait.wanted}`, stop, tail);
    const waitedMs = nowMs - beganMs;
    if (waitedMs >= LONGEST_MS) {
      throw new VmError(
        'bad-image',
        `the machine did not come to ${wait.wanted} within ${LONGEST_MS / 60_000} minutes; its last words:\n${tail.last(SHOWN_LINES)}`,
      );
    }
    if (waitedMs < wordMs) continue;
    wordMs *= 2;
    const last = tail
      .lines(SEARCHED_LINES)
      .map(plain)
      .findLast((line) => line.trim() !== '')
      ?.trim();
    const said = last === undefined ? 'the machine has printed nothing so far' : `its last line: ${last.slice(0, 200)}`;
    host.log('info', 'build', `still waiting for ${wait.wanted}, ${Math.round(waitedMs / 1000)} s so far; ${said}`);
  }
  host.signal?.throwIfAborted();
  return new Promise<never>(() => {});
}

/** How long a machine has been at rest. */
class Rest {
  readonly #machine: BuildMachine;
  readonly #tail: ConsoleTail;
  #atMs: number;
  #executed: number;
  #printed: number;
  #restMs = 0;

  constructor(machine: BuildMachine, tail: ConsoleTail, nowMs: number) {
    this.#machine = machine;
    this.#tail = tail;
    this.#atMs = nowMs;
    this.#executed = machine.stats().instructions;
    this.#printed = tail.bytes;
  }

  /** To be asked now and again. What it has stopped at, when it has rested long enough for that. */
  look(nowMs: number): Stop | undefined {
    const [passedMs, executed, printed] = [nowMs - this.#atMs, this.#machine.stats().instructions, this.#tail.bytes];
    const rests = printed === this.#printed && executed - this.#executed < REST_INSTRUCTIONS_PER_MS * passedMs;
    this.#restMs = rests ? this.#restMs + passedMs : 0;
    [this.#atMs, this.#executed, this.#printed] = [nowMs, executed, printed];
    const known = this.#restMs >= REST_KNOWN_MS ? stopOf(this.#tail) : undefined;
    return known ?? (this.#restMs >= REST_UNKNOWN_MS ? RESTS : undefined);
  }
}

/** What the last lines say that it has stopped at, and where that is said. */
function stopOf(tail: ConsoleTail): (Stop & { readonly line: number }) | undefined {
  const lines = tail.lines(SEARCHED_LINES);
  for (const [pattern, means, help] of STOPS) {
    const line = lines.findIndex((one) => pattern.test(one));
    if (line >= 0) return { means, help, line: lines.length - line };
  }
  const question = QUESTIONS.find(([pattern]) => pattern.test(lines.at(-1) ?? ''));
  return question && { means: question[1], help: question[2], line: 1 };
}

function failure(
  what: string,
  { means, help, line = 0 }: { readonly means: string; readonly help: string | undefined; readonly line?: number },
  tail: ConsoleTail,
): VmError {
  const last = tail.last(Math.max(SHOWN_LINES, line), SHOWN_LINES);
  const words = last === '' ? 'It has printed nothing' : `Its last words:\n${last}`;
  return new VmError('bad-image', `${what}: ${means}${help === undefined ? '' : `; ${help}`}. ${words}`);
}
