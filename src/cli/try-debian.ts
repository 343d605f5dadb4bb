/** `daybreak try debian` where there is no snapshot of that name: a console of today's Debian unstable, made of packages on the spot. */
import { DEFAULT_MIRROR } from '../snapshots/debian/apt-sources.ts';
import { KERNEL_COMMAND_LINE } from '../snapshots/debian/kernel-command-line.ts';
import { prepareDebian } from '../snapshots/debian/prepare.ts';
import { readKeyring } from '../snapshots/debian/release.ts';
import { runArchive } from '../snapshots/debian/run-archive.ts';
import { text } from './arguments.ts';
import type { Host } from './host.ts';
import { runInTerminal, type RunInTerminal } from './run-in-terminal.ts';
import { systemKeyring, systemMirror } from './system-debian.ts';
import { ESCAPE_HINT } from './usage/running.ts';

const SUITE = 'unstable';

export async function tryDebian(host: Host, options: RunInTerminal): Promise<number> {
  const { values, command } = options;
  const mirror = (text(values, 'mirror') ?? (await systemMirror(host.files)) ?? DEFAULT_MIRROR).replace(/\/+$/, '');
  const image = await prepareDebian(
    host,
    {
      mirror,
      suite: SUITE,
      keyring: await readKeyring([...(await systemKeyring(host.files)), host.archiveKeys]),
      strict: values['strict'] === true,
      allowOlder: values['allow-older'] === true,
      offline: values['offline'] === true,
      cacheDirectory: `${host.cacheDirectory}/debian`,
      stateDirectory: `${host.stateDirectory}/debian`,
    },
    host.messages.progress,
    host.signal,
  );
  host.signal.throwIfAborted();
  const { terminal, messages } = host;
  const size = terminal.size();
  const person = terminal.inputIsTerminal && terminal.outputIsTerminal;
  const run = await runArchive({
    ...(command && { command }),
    ...(size && { size }),
    ...(terminal.outputIsTerminal && host.environment['TERM'] && { term: host.environment['TERM'] }),
    plain: !person,
  });
  if (!command) {
    messages.line(
      `Debian ${SUITE} of ${image.date}, Linux ${image.kernelVersion}, ${image.packageCount} packages; exit powers off, ${ESCAPE_HINT}`,
    );
    messages.line('a small system, fetched; daybreak build debian makes the full one, which then starts by the same name');
  }
  const append = text(values, 'append');
  return runInTerminal(
    host,
    {
      of: { name: 'debian', day: image.date },
      kernel: image.kernel,
      initrds: [image.initramfs, run],
      commandLine: append ? `${KERNEL_COMMAND_LINE} ${append}` : KERNEL_COMMAND_LINE,
    },
    options,
    true,
  );
}
