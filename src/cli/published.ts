/** A published day as the verbs look into it: what it is made of is here, its contents need not be. */
import { resolve } from 'node:path';
import { Catalogue, parseSnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { PublishedBase } from '../snapshots/catalogue/kept.ts';
import { findDay, keptIndexes } from '../snapshots/get/day.ts';
import type { ContentFetcher } from '../snapshots/get/fetcher.ts';
import { LayeredStore, OnDemandStore } from '../snapshots/get/on-demand-store.ts';
import { openSource } from '../snapshots/get/open-source.ts';
import { fetcherOf, listPublished, openDay, type OpenedDay } from '../snapshots/get/pull.ts';
import type { Source } from '../snapshots/get/source.ts';
import type { PackIndex } from '../storage/packs/pack-index.ts';
import { FileChunkStore } from '../storage/file-chunk-store.ts';
import { fetchedContents, type Host } from './host.ts';
import { pullHost, pullOptions } from './publishing.ts';

/** Somebody waits, and a line that stands still is asked anew. */
const SILENCE_MS = 10_000;

/** Where contents come from: this computer, and a place. */
export interface PublishedContents {
  readonly source: Source;
  readonly index: PackIndex;
  readonly fetcher: ContentFetcher;
  /** Contents of this computer, snapshots' and those that were fetched for machines: what is fetched goes to the latter. */
  readonly here: LayeredStore;
  readonly cache: FileChunkStore;
}

export type PublishedSnapshot = OpenedDay & PublishedContents;

/** Rejects with a VmError: nothing of that name, no network, not the publisher that is trusted. */
export async function openPublished(host: Host, given: string, place: string, fingerprint: string | undefined): Promise<PublishedSnapshot> {
  const wanted = parseSnapshotName(given);
  const stores = storesOf(host, new Catalogue(host.files, host.dataDirectory));
  const source = sourceAt(host, place);
  const getting = await pullHost(host);
  const options = await pullOptions(host, place, fingerprint);
  const day = findDay(source.name, await listPublished(source, getting, options), wanted);
  return { ...(await openDay(source, day, stores.here, getting, options)), source, ...stores };
}

/** The contents below a kept machine. Asks nobody as long as what is needed is here. */
export async function openBase(host: Host, catalogue: Catalogue, { place, indexes }: PublishedBase): Promise<PublishedContents> {
  const stores = storesOf(host, catalogue);
  const source = sourceAt(host, place);
  const index = await keptIndexes(source, indexes, catalogue.store);
  return { source, index, fetcher: fetcherOf(source, index, stores.here, await pullHost(host), host.cacheDirectory), ...stores };
}

function sourceAt(host: Host, place: string): Source {
  return openSource({ ...host, silenceMs: SILENCE_MS }, place);
}

export function onDemand({ here, index, fetcher }: PublishedContents): OnDemandStore {
  return new OnDemandStore(here, index, fetcher);
}

/** A place that can be found again from elsewhere. */
export function lastingPlace(place: string): string {
  return place.includes('://') ? place : resolve(place);
}

function storesOf(host: Host, { store }: Catalogue): Pick<PublishedContents, 'here' | 'cache'> {
  const cache = new FileChunkStore(host.files, fetchedContents(host.cacheDirectory));
  return { here: new LayeredStore(store, cache), cache };
}
