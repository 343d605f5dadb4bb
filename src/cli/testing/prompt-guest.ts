/** A guest with a prompt, for tests of `daybreak try`. */
import type { VmError } from '../../base/errors.ts';
import type { Host } from '../host.ts';
import { main } from '../main.ts';
import { awayBy, testHost, type FakeMachine, type TestHost } from './fakes.ts';

export interface Guest {
  /** What runs prints, and ends with; undefined: the machine ends on its own. */
  readonly run?: (machine: FakeMachine, test: TestHost) => number | undefined | Promise<number | undefined>;
  /** A person sits there. */
  readonly terminal?: true;
  /** What it does when it goes on from a state, before anything is typed. */
  readonly resumed?: (machine: FakeMachine) => void;
  /** What starting fails with when there is a state. */
  readonly refuse?: VmError;
}

export const EXIT_0: Guest = { run: () => 0 };

/** A guest with a prompt, which does what is typed there. */
export async function triedIn(directory: string, guest: Guest, ...args: string[]) {
  const machines: FakeMachine[] = [];
  const test = testHost(directory);
  if (guest.terminal) test.terminal.inputIsTerminal = test.terminal.outputIsTerminal = true;
  const { startMachine } = test.host;
  const host: Host = {
    ...test.host,
    startAway: (options) => awayBy(host.startMachine)(options),
    startMachine: async (options) => {
      if (options.restore !== undefined && guest.refuse) throw guest.refuse;
      const machine = (await startMachine(options)) as FakeMachine;
      machines.push(machine);
      const input = machine.input.bind(machine);
      machine.input = async (data) => {
        await input(data);
        const typed = new TextDecoder().decode(data);
        if (/^off-[0-9a-f]{16}\n$/.test(typed)) machine.end({ kind: 'poweroff' });
        const nonce = /\\035([0-9a-f]{16})/.exec(typed)?.[1];
        if (nonce === undefined) return;
        machine.print(`the echo\r\n\x1d${nonce}`);
        const status = await guest.run?.(machine, test);
        if (status !== undefined) machine.print(`\x1e${nonce} ${status}\n`);
      };
      setTimeout(() => options.restore === undefined && machine.print('booting\nroot@daybreak:~# '), 0);
      if (options.restore !== undefined) setTimeout(() => guest.resumed?.(machine), 0);
      return machine;
    },
  };
  const status = await main(host, ['try', ...args]);
  return { status, output: test.terminal.output, errors: test.errors.text, machines };
}
