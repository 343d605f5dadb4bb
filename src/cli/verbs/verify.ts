/** `daybreak verify`: checks all that is published somewhere. */
import { VmError } from '../../base/errors.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { openSource } from '../../snapshots/get/open-source.ts';
import { verifyPublished } from '../../snapshots/publish/verify.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { fingerprintOf } from '../publishing.ts';

export async function verifyVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length !== 1) throw new VmError('usage', 'verify: expected one place (daybreak verify ./www)');
  const fingerprint = fingerprintOf(text(values, 'trust'));
  const source = openSource(host, positionals[0]!);
  const { messages, clock, signal } = host;
  const verifying = { clock, zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: messages.progress, signal };
  const result = await verifyPublished(source, verifying, fingerprint);
  messages.clear();
  if (values['json']) print(`${JSON.stringify(result)}\n`);
  for (const problem of result.problems) messages.error(problem);
  const { days, packCount, packedBytes, expires } = result;
  messages.line(`${days.length} days, ${packCount} packs of ${formatBytes(packedBytes)}, signed until ${expires}`);
  if (fingerprint === undefined) messages.line(`fingerprint: ${result.fingerprint}`);
  return result.problems.length === 0 ? EXIT_OK : EXIT_FAILURE;
}
