/** `daybreak info`: what is known of a snapshot. */
import { VmError } from '../../base/errors.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { dateOf } from '../../snapshots/debian/archive.ts';
import { printLock } from '../../snapshots/recipe/lock.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { openPublished, type PublishedSnapshot } from '../published.ts';
import { fingerprintOf } from '../publishing.ts';
import { formatTable } from '../table.ts';

export async function infoVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length !== 1) throw new VmError('usage', 'info: expected one name (daybreak info debian)');
  const [from, fingerprint] = [text(values, 'from'), fingerprintOf(text(values, 'trust'))];
  if (fingerprint !== undefined && from === undefined) throw new VmError('usage', 'info: --trust says whose --from PLACE is');
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const published = from === undefined ? undefined : await openPublished(host, positionals[0]!, from, fingerprint);
  const snapshot = published?.snapshot ?? (await catalogue.find(parseSnapshotName(positionals[0]!)));
  const missing = published && (await missingOf(published));
  const booted = published ? published.manifest.state : await catalogue.booted(snapshot);
  host.messages.clear();
  if (values['json']) print(`${JSON.stringify({ ...snapshot, ...(booted && { booted }), ...(missing && { from, ...missing }) })}\n`);
  else if (values['lock']) print(printLock(snapshot.lock));
  else if (values['packages']) print(formatTable(snapshot.packages.map(({ name, version }) => [name, version])));
  else {
    const { name, day, title, tree, entryCount, contentBytes, kernel, packages, lock, probes } = snapshot;
    print(
      formatTable([
        ['name', `${name}@${day}`],
        ...(title === undefined ? [] : [['title', title]]),
        ['tree', tree],
        ['content', `${formatBytes(contentBytes)} in ${entryCount} files and directories`],
        ['packages', String(packages.length)],
        ['kernel', `Linux ${kernel.version}`],
        ...(lock.base ? [['base', `${lock.base.name}, tree ${lock.base.tree.slice(0, 12)}`]] : []),
        ...lock.suites.map((suite) => ['suite', `${suite.name} of ${dateOf(suite.dateMs)}`]),
        [
          'booted state',
          booted
            ? `${formatBytes(booted.sizeBytes)}, of a machine with ${booted.memoryBytes / 2 ** 20} MiB`
            : 'none: daybreak try boots it',
        ],
        ...(missing
          ? [
              ['published at', from!],
              ['missing here', `${formatBytes(missing.missingBytes)} in ${missing.missingContents} contents, before they are packed`],
            ]
          : []),
        ...(probes.length === 0 ? [['probes', 'none: it was not booted']] : probes.map((probe) => ['passed', probe])),
      ]),
    );
  }
  return EXIT_OK;
}

/** What a pull would have to get. */
async function missingOf({ tree, here }: PublishedSnapshot): Promise<{ readonly missingBytes: number; readonly missingContents: number }> {
  const sizes = new Map<string, number>();
  for (const [, node] of tree.entries()) if (node.type === 'file') sizes.set(node.digest, node.sizeBytes);
  let [missingBytes, missingContents] = [0, 0];
  for (const [digest, size] of sizes) {
    if (await here.has(digest)) continue;
    missingBytes += size;
    missingContents++;
  }
  return { missingBytes, missingContents };
}
