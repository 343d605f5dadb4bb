/** `daybreak completion`: what makes a shell complete our verbs, options and names. */
import { withoutControls } from '../table.ts';
import { VmError } from '../../base/errors.ts';
import type { ParsedArguments } from '../arguments.ts';
import { complete } from '../complete.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { SHELLS } from '../shells.ts';

export async function completionVerb(host: Host, { positionals }: ParsedArguments): Promise<number> {
  const [shell, ...more] = positionals;
  const script =
    shell !== undefined && more.length === 0 && Object.hasOwn(SHELLS, shell) ? SHELLS[shell as keyof typeof SHELLS] : undefined;
  if (script === undefined)
    throw new VmError('usage', `completion: expected one of ${Object.keys(SHELLS).join(', ')} (daybreak completion --help)`);
  host.terminal.write(new TextEncoder().encode(script));
  return EXIT_OK;
}

/** What those scripts call: candidates for the last of the words. */
export async function printCompletion(host: Host, words: readonly string[]): Promise<void> {
  const { candidates, paths } = await complete(host, words);
  const lines = candidates.map(([word, about]) => `${word}\t${withoutControls(about, ' ')}\n`);
  host.terminal.write(new TextEncoder().encode(`${lines.join('')}:${paths}\n`));
}
