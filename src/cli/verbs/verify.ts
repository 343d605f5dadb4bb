/** `daybreak verify`: checks all that is published somewhere. */
import { VmError } from '../../base/errors.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { openSource } from '../../snapshots/get/source.ts';
import { verifyPublished } from '../../snapshots/publish/verify.ts';
import { parseVerb, text } from '../arguments.ts';
import { EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { fingerprintOf } from '../publishing.ts';

export const VERIFY_HELP = `Usage: daybreak verify PLACE [options]

Checks what is published at PLACE, a directory or an address, as a reader would, to the last content: signatures and their
time, lists, indexes, packs. Everything is read once.

Options:
  --trust DIGEST    the publisher's fingerprint; without it, it is printed
  --json            what was found, as one line of JSON
  -h, --help        this text

Exit status: 0 when all is well, 1 when something is not.
`;

export async function verifyVerb(host: Host, args: readonly string[]): Promise<number> {
  const { values, positionals } = parseVerb('verify', args, {
    trust: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (values['help']) {
    print(VERIFY_HELP);
    return EXIT_OK;
  }
  if (positionals.length !== 1) throw new VmError('usage', 'verify: expected one place (daybreak verify ./www)');
  const fingerprint = fingerprintOf(text(values, 'trust'));
  const source = openSource(host, positionals[0]!);
  const { messages, clock, signal } = host;
  const result = await verifyPublished(source, { clock, zstd: await nodeZstd(), progress: messages.progress, signal }, fingerprint);
  messages.clear();
  if (values['json']) print(`${JSON.stringify(result)}\n`);
  for (const problem of result.problems) messages.error(problem);
  const { days, packCount, packedBytes, expires } = result;
  messages.line(`${days.length} days, ${packCount} packs of ${formatBytes(packedBytes)}, signed until ${expires}`);
  if (fingerprint === undefined) messages.line(`fingerprint: ${result.fingerprint}`);
  return result.problems.length === 0 ? EXIT_OK : EXIT_FAILURE;
}
