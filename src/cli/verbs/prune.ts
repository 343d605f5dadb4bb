/** `daybreak prune`: removes old snapshots, and contents that none of the rest needs. */
import { VmError } from '../../base/errors.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import { pruneCache } from '../../snapshots/get/cache.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';

export async function pruneVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length > 0) throw new VmError('usage', 'prune: it takes options only (daybreak prune --help)');
  const keepDays = text(values, 'keep-days');
  if (keepDays !== undefined && !/^[1-9]\d{0,4}$/.test(keepDays))
    throw new VmError('usage', `--keep-days ${keepDays}: expected a number from 1 on`);
  const keepSize = text(values, 'keep-size') ?? '0';
  const maxBytes = sizeOf(keepSize);
  if (maxBytes === undefined) throw new VmError('usage', `--keep-size ${keepSize}: expected a size, such as 512M or 2G`);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const removed: string[] = [];
  if (keepDays !== undefined) {
    const seen = new Map<string, number>();
    for (const snapshot of await catalogue.list(() => {})) {
      const count = (seen.get(snapshot.name) ?? 0) + 1;
      seen.set(snapshot.name, count);
      if (count <= Number(keepDays)) continue;
      await catalogue.remove(snapshot);
      removed.push(`${snapshot.name}@${snapshot.day}`);
    }
  }
  const result = await catalogue.prune(host.clock, maxBytes);
  const cache = await pruneCache(host.files, host.clock, host.cacheDirectory);
  if (values['json']) print(`${JSON.stringify({ snapshots: removed, ...result, cache })}\n`);
  else {
    for (const name of removed) print(`removed ${name}\n`);
    print(`removed ${result.removed} contents of ${formatBytes(result.removedBytes)}; ${formatBytes(result.keptBytes)} are left\n`);
    if (cache.removed > 0)
      print(`removed ${cache.removed} files of ${formatBytes(cache.removedBytes)} that fetching had left in the cache\n`);
  }
  return EXIT_OK;
}

/** `0`, `512M`, `2G`, `1T` in bytes; undefined when it is none. */
function sizeOf(size: string): number | undefined {
  const match = /^(\d{1,6})([KMGT]?)(?:i?B)?$/i.exec(size);
  return match ? Number(match[1]) * 1024 ** ' KMGT'.indexOf(match[2]!.toUpperCase() || ' ') : undefined;
}
