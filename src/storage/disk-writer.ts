/** A disk that is being made, as the bytes of a file: raw with holes, or qcow2. QEMU, docs/interop/qcow2.txt. Both come in order, so any file takes them. */
import type { Hole } from '../platform/files.ts';
import type { DiskExtent } from './disk-extent.ts';

const CLUSTER_BITS = 16;
const CLUSTER_BYTES = 1 << CLUSTER_BITS;
const L2_ENTRIES = CLUSTER_BYTES / 8;
const REFCOUNTS_A_BLOCK = CLUSTER_BYTES / 2;
const HEADER_BYTES = 104;
/** The cluster has one reference: it may be written in place. */
const COPIED = 0x80;

/** `extents` are in order and do not overlap. */
export async function* rawDisk(diskBytes: number, extents: readonly DiskExtent[]): AsyncGenerator<Uint8Array | Hole> {
  let at = 0;
  for await (const [index, data] of clusters(extents)) {
    const start = index * CLUSTER_BYTES;
    if (start > at) yield { holeBytes: start - at };
    yield data.subarray(0, diskBytes - start);
    at = Math.min(diskBytes, start + CLUSTER_BYTES);
  }
  if (diskBytes > at) yield { holeBytes: diskBytes - at };
}

/** Version 3, clusters of 64 KiB; those without content take no room. */
export async function* qcow2Disk(diskBytes: number, extents: readonly DiskExtent[]): AsyncGenerator<Uint8Array> {
  const used = clustersOf(extents);
  const guestClusters = Math.ceil(diskBytes / CLUSTER_BYTES);
  const l1Entries = Math.ceil(guestClusters / L2_ENTRIES);
  const l1Clusters = Math.ceil((l1Entries * 8) / CLUSTER_BYTES);
  const tables = [...new Set(used.map((cluster) => Math.floor(cluster / L2_ENTRIES)))];
  const fixed = 1 + l1Clusters + tables.length + used.length;
  // Reference counts count themselves.
  let [blocks, tableClusters] = [0, 0];
  for (let grown = true; grown;) {
    const all = fixed + blocks + tableClusters;
    const needed = Math.ceil(all / REFCOUNTS_A_BLOCK);
    const neededTable = Math.ceil((needed * 8) / CLUSTER_BYTES);
    grown = needed !== blocks || neededTable !== tableClusters;
    [blocks, tableClusters] = [needed, neededTable];
  }
  const total = fixed + blocks + tableClusters;
  const l1At = 1;
  const refTableAt = l1At + l1Clusters;
  const refBlocksAt = refTableAt + tableClusters;
  const l2At = refBlocksAt + blocks;
  const dataAt = l2At + tables.length;

  const header = new Uint8Array(CLUSTER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x5146_49fb);
  view.setUint32(4, 3);
  view.setUint32(20, CLUSTER_BITS);
  view.setBigUint64(24, BigInt(diskBytes));
  view.setUint32(36, l1Entries);
  view.setBigUint64(40, BigInt(l1At * CLUSTER_BYTES));
  view.setBigUint64(48, BigInt(refTableAt * CLUSTER_BYTES));
  view.setUint32(56, tableClusters);
  view.setUint32(96, 4); // reference counts of 16 bits
  view.setUint32(100, HEADER_BYTES);
  yield header;
  const l1 = new Uint8Array(l1Clusters * CLUSTER_BYTES);
  for (const [i, table] of tables.entries()) setEntry(l1, table, l2At + i, true);
  yield l1;
  const refTable = new Uint8Array(tableClusters * CLUSTER_BYTES);
  for (let i = 0; i < blocks; i++) setEntry(refTable, i, refBlocksAt + i, false);
  yield refTable;
  for (let i = 0; i < blocks; i++) {
    const block = new Uint8Array(CLUSTER_BYTES);
    const counts = new DataView(block.buffer);
    const here = Math.min(REFCOUNTS_A_BLOCK, total - i * REFCOUNTS_A_BLOCK);
    for (let n = 0; n < here; n++) counts.setUint16(2 * n, 1);
    yield block;
  }
  let next = 0;
  for (const table of tables) {
    const l2 = new Uint8Array(CLUSTER_BYTES);
    for (; next < used.length && Math.floor(used[next]! / L2_ENTRIES) === table; next++)
      setEntry(l2, used[next]! % L2_ENTRIES, dataAt + next, true);
    yield l2;
  }
  for await (const [, data] of clusters(extents)) yield data;
}

function setEntry(table: Uint8Array, index: number, cluster: number, copied: boolean): void {
  new DataView(table.buffer).setBigUint64(8 * index, BigInt(cluster) << BigInt(CLUSTER_BITS));
  if (copied) table[8 * index]! |= COPIED;
}

/** Clusters that have content, in order. */
function clustersOf(extents: readonly DiskExtent[]): number[] {
  const found: number[] = [];
  for (const { offset, sizeBytes } of extents) {
    const last = Math.floor((offset + sizeBytes - 1) / CLUSTER_BYTES);
    for (let cluster = Math.max(Math.floor(offset / CLUSTER_BYTES), (found.at(-1) ?? -1) + 1); cluster <= last; cluster++)
      found.push(cluster);
  }
  return found;
}

/** The same with their content. */
async function* clusters(extents: readonly DiskExtent[]): AsyncGenerator<[index: number, data: Uint8Array]> {
  let open: { index: number; data: Uint8Array } | undefined;
  for (const extent of extents) {
    const content = await extent.read();
    for (let done = 0; done < extent.sizeBytes;) {
      const at = extent.offset + done;
      const index = Math.floor(at / CLUSTER_BYTES);
      const here = Math.min(extent.sizeBytes - done, (index + 1) * CLUSTER_BYTES - at);
      const part = content.subarray(done, done + here);
      done += here;
      if (open && open.index !== index) {
        yield [open.index, open.data];
        open = undefined;
      }
      if (here === CLUSTER_BYTES) {
        yield [index, part];
        continue;
      }
      open ??= { index, data: new Uint8Array(CLUSTER_BYTES) };
      open.data.set(part, at - index * CLUSTER_BYTES);
    }
  }
  if (open) yield [open.index, open.data];
}
