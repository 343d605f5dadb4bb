/** `daybreak diff`: what changed between two snapshots. */
import { VmError } from '../../base/errors.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { diffSnapshots, type FileChange, type TreeDiff } from '../../snapshots/catalogue/diff.ts';
import type { ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { formatTable } from '../table.ts';

export async function diffVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length !== 2) throw new VmError('usage', 'diff: expected two names (daybreak diff debian@-1 debian)');
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const [a, b] = [await catalogue.find(parseSnapshotName(positionals[0]!)), await catalogue.find(parseSnapshotName(positionals[1]!))];
  const sides = [a, b].map(async (snapshot) => ({ tree: await catalogue.tree(snapshot), packages: snapshot.packages }));
  const [from, to] = await Promise.all(sides);
  const diff = await diffSnapshots(from!, to!, catalogue.store);
  const booted = await Promise.all([a, b].map(async (snapshot) => (await catalogue.booted(snapshot))?.sizeBytes));
  if (values['json']) {
    const label = ({ name, day, tree }: typeof a, bootedBytes: number | undefined) => ({ name, day, tree, bootedBytes });
    print(`${JSON.stringify({ from: label(a, booted[0]), to: label(b, booted[1]), ...diff })}\n`);
  } else {
    print(report(diff, values['files'] === true));
    if (a.tree !== b.tree) print(`booted state ${sizeOf(booted[0])} → ${sizeOf(booted[1])}\n`);
  }
  return EXIT_OK;
}

function report({ packages, files, totals }: TreeDiff, everyFile: boolean): string {
  if (packages.length === 0 && files.length === 0) return 'no difference\n';
  const parts: string[] = [];
  if (packages.length > 0)
    parts.push(formatTable(packages.map(({ name, from, to }) => [sign(from, to), name, from ?? '', from && to ? '→' : '', to ?? ''])));
  if (files.length > 0) parts.push(everyFile ? fileTable(files) : packageTable(files));
  parts.push(
    `${totals.added} files added, ${totals.removed} removed, ${totals.changed} changed; ` +
      `${formatBytes(totals.fromBytes)} → ${formatBytes(totals.toBytes)}, of it ${formatBytes(totals.newBytes)} new\n`,
  );
  return parts.join('\n');
}

function sizeOf(bytes: number | undefined): string {
  return bytes === undefined ? 'none' : formatBytes(bytes);
}

function sign(from: unknown, to: unknown): string {
  return from === undefined ? '+' : to === undefined ? '-' : '~';
}

function fileTable(files: readonly FileChange[]): string {
  const signs = { added: '+', removed: '-', changed: '~' };
  return formatTable(files.map((file) => [signs[file.change], file.path, file.what.join(' '), file.package ?? '(no package)']));
}

/** How many files of each package, the most first. */
function packageTable(files: readonly FileChange[]): string {
  const byPackage = new Map<string, { count: number; bytes: number }>();
  for (const file of files) {
    const key = file.package ?? '(no package)';
    const { count, bytes } = byPackage.get(key) ?? { count: 0, bytes: 0 };
    byPackage.set(key, { count: count + 1, bytes: bytes + file.toBytes });
  }
  const rows = [...byPackage].sort(([a, x], [b, y]) => y.count - x.count || (a < b ? -1 : 1));
  return formatTable(
    [['FILES', 'SIZE', 'OF'], ...rows.map(([name, { count, bytes }]) => [String(count), formatBytes(bytes), name])],
    [0, 1],
  );
}
