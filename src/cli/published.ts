/** A published day as the verbs look into it: what it is made of is here, its contents need not be. */
import { Catalogue, parseSnapshotName } from '../snapshots/catalogue/catalogue.ts';
import { findDay } from '../snapshots/get/day.ts';
import { LayeredStore } from '../snapshots/get/on-demand-store.ts';
import { openSource } from '../snapshots/get/open-source.ts';
import { listPublished, openDay, type OpenedDay } from '../snapshots/get/pull.ts';
import { FileChunkStore } from '../storage/file-chunk-store.ts';
import { fetchedContents, type Host } from './host.ts';
import { pullHost, pullOptions } from './publishing.ts';

export interface PublishedSnapshot extends OpenedDay {
  /** Contents of this computer, snapshots' and those that were fetched for machines: what is fetched goes to the latter. */
  readonly here: LayeredStore;
  readonly cache: FileChunkStore;
}

/** Rejects with a VmError: nothing of that name, no network, not the publisher that is trusted. */
export async function openPublished(host: Host, given: string, place: string, fingerprint: string | undefined): Promise<PublishedSnapshot> {
  const wanted = parseSnapshotName(given);
  const cache = new FileChunkStore(host.files, fetchedContents(host.cacheDirectory));
  const here = new LayeredStore(new Catalogue(host.files, host.dataDirectory).store, cache);
  const source = openSource(host, place);
  const getting = await pullHost(host);
  const options = await pullOptions(host, place, fingerprint);
  const day = findDay(source.name, await listPublished(source, getting, options), wanted);
  return { ...(await openDay(source, day, here, getting, options)), here, cache };
}
