/** `daybreak export`: a snapshot for other programs. */
import { VmError } from '../../base/errors.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { isKeptName, type Kept } from '../../snapshots/catalogue/kept.ts';
import { EXPORT_FORMATS, exportSystem, formatOf, type ExportedSystem, type ExportFormat } from '../../snapshots/export/export.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { contentsBelow } from '../kept-contents.ts';
import { noKept } from '../machines/kept-machines.ts';
import { MachineRegistry } from '../machines/registry.ts';
import { formatBytes } from '../messages.ts';

const UNITS: Readonly<Record<string, number>> = { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const DRIVERS = ['virtio_blk', 'virtio_scsi', 'ahci', 'ata_piix', 'nvme'];

export async function exportVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const [name, path] = positionals;
  if (name === undefined || path === undefined || positionals.length > 2)
    throw new VmError('usage', 'export: expected a name and a file (daybreak export debian debian.qcow2)');
  const format = formatFrom(text(values, 'format'), path);
  const [size, append] = [text(values, 'size'), text(values, 'append')];
  const disk = format === 'qcow2' || format === 'raw';
  if (!disk && (size !== undefined || append !== undefined))
    throw new VmError('usage', `--${size === undefined ? 'append' : 'size'} is for a disk, not for ${format}`);
  const sizeBytes = size === undefined ? undefined : parseSize(size);
  const there = await host.files.info(path);
  if (there?.directory) throw new VmError('usage', `${path} is a directory: name a file`);
  if (there && values['force'] !== true) throw new VmError('usage', `${path} is there already: name another file, or say --force`);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const { of, ...system } = await systemOf(host, catalogue, name, values['kept'] === true);
  const { files, clock, messages, signal } = host;
  const what = { files, clock, zstd: await nodeZstd(), progress: messages.progress, signal };
  const result = await exportSystem(what, system, path, format, {
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(append !== undefined && { append }),
  });
  messages.clear();
  if (values['json']) {
    const { name: called, day, tree } = system;
    const kept = of !== undefined && { kept: true, of };
    host.terminal.write(
      new TextEncoder().encode(`${JSON.stringify({ name: called, day, tree, ...kept, file: path, format, ...result })}\n`),
    );
  }
  const virtual = result.disk ? `, a disk of ${formatBytes(result.disk.sizeBytes)}` : '';
  messages.line(
    `${path}: ${of === undefined ? `${system.name}@${system.day}` : `${system.name}, of ${of}`}, ${formatBytes(result.writtenBytes)}${virtual}`,
  );
  if (result.disk) {
    const drivers = DRIVERS.filter((driver) => result.disk!.modules.includes(driver));
    if (drivers.length === 0)
      messages.line('the system has no driver modules for its kernel: it boots only from disks whose drivers the kernel has built in');
    messages.line(`start it: qemu-system-x86_64 -m 1G -nographic -drive file=${path},format=${format},if=virtio`);
  }
  return EXIT_OK;
}

/** What a name stands for: a snapshot, or, when there is none of that name or `kept` is wanted, a machine that is kept, `of` a snapshot. */
async function systemOf(host: Host, catalogue: Catalogue, name: string, wantsKept: boolean): Promise<ExportedSystem & { of?: string }> {
  const kept = isKeptName(name) ? await catalogue.kept(name) : undefined;
  if (wantsKept || kept) {
    const snapshot = wantsKept ? undefined : await catalogue.find(parseSnapshotName(name)).catch(() => undefined);
    if (kept && !snapshot) return keptSystem(host, catalogue, name, kept);
    if (wantsKept) throw await noKept(catalogue, name);
    host.messages.line(`${name} is a snapshot, and a machine that is kept: this exports the snapshot, --kept the machine`);
  }
  const { name: called, day, tree, kernel } = await catalogue.find(parseSnapshotName(name));
  return { name: called, day, tree, kernel, store: catalogue.store };
}

async function keptSystem(host: Host, catalogue: Catalogue, name: string, kept: Kept): Promise<ExportedSystem & { of: string }> {
  const { from, tree, kernel, published, state } = kept;
  const { messages, signal } = host;
  if (await new MachineRegistry(host.files, await host.runtimeDirectory()).find(name))
    messages.line(`${name} runs: what it writes now is not exported, but what was kept when it ended last`);
  else if (state) messages.line(`${name} is saved in its session: its files are exported as far as they had been written out`);
  const fetched = published && (await contentsBelow(host, catalogue, name, kept, published));
  if (fetched) {
    const wanted = new Set([kernel.digest]);
    for (const [, node] of (await catalogue.treeOf(name, tree)).entries()) if (node.type === 'file') wanted.add(node.digest);
    const onContent = (done: number, total: number): void => messages.progress({ step: 'contents', done, total, unit: 'items' });
    await fetched.store.fetchAll([...wanted], onContent, signal);
  }
  return { name, day: from.day, of: `${from.name}@${from.day}`, tree, kernel, store: fetched?.store ?? catalogue.store };
}

function formatFrom(given: string | undefined, path: string): ExportFormat {
  const found = given === undefined ? formatOf(path) : EXPORT_FORMATS.find((format) => format === given);
  if (found) return found;
  if (given !== undefined) throw new VmError('usage', `--format ${given}: expected ${EXPORT_FORMATS.join(', ')}`);
  throw new VmError('usage', `${path}: expected a name that ends in .qcow2, .raw, .img, .tar or .tar.zst, or --format`);
}

function parseSize(given: string): number {
  const match = /^(\d{1,6})([MGT])(iB|B)?$/i.exec(given);
  const bytes = match ? Number(match[1]) * UNITS[match[2]!.toUpperCase()]! : 0;
  if (bytes < 1) throw new VmError('usage', `--size ${given}: expected a size with its unit, such as 20G`);
  return bytes;
}
