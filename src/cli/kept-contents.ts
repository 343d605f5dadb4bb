/** Contents of a kept machine that has a published snapshot below it: what is not on this computer comes from there, when it is asked for. */
import { VmError } from '../base/errors.ts';
import type { Catalogue } from '../snapshots/catalogue/catalogue.ts';
import type { Kept, PublishedBase } from '../snapshots/catalogue/kept.ts';
import { keepIndexes } from '../snapshots/get/day.ts';
import { OnDemandStore } from '../snapshots/get/on-demand-store.ts';
import { indexDirectory } from '../snapshots/get/cache.ts';
import type { Host } from './host.ts';
import type { FetchedContents } from './keeping.ts';
import { lastingPlace, openBase, openPublished, type PublishedContents } from './published.ts';

/** The contents below the machine `name`. Asks nobody as long as all that is needed is here. */
export async function contentsBelow(
  host: Host,
  catalogue: Catalogue,
  name: string,
  { from }: Pick<Kept, 'from'>,
  published: PublishedBase,
): Promise<FetchedContents> {
  const of = `${from.name}@${from.day}`;
  const explain = (error: unknown): unknown => {
    if (!(error instanceof VmError) || error.code === 'cancelled') return error;
    const help =
      error.code === 'network'
        ? 'it goes on when that place can be reached again'
        : `when it is not published there any more, another place that has ${of} will do: daybreak try ${from.name} --keep ${name} --from PLACE`;
    return new VmError(error.code, `${name} needs something of ${of} that was never fetched: ${error.message}; ${help}`, error);
  };
  try {
    const contents = await openBase(host, catalogue, published);
    const store = new ExplainingStore(contents, explain);
    return { ...contents, store, order: await orderOf(contents.here, published.order) };
  } catch (error) {
    throw explain(error);
  }
}

/** The same snapshot at another place. Rejects with `not-found` or `bad-image` when that has none, or another one of that day. */
export async function baseElsewhere(
  host: Host,
  catalogue: Catalogue,
  name: string,
  { from, base, published }: Kept,
  place: string,
  trust: string | undefined,
): Promise<PublishedBase> {
  const at = lastingPlace(place);
  if (published?.place === at) return published;
  const of = `${from.name}@${from.day}`;
  const { manifest, snapshot, source } = await openPublished(host, of, at, trust);
  if (snapshot.tree !== base)
    throw new VmError(
      'bad-image',
      `--keep ${name}: that machine is of ${of} of another publisher: what ${at} has under that name is something else`,
    );
  await keepIndexes(source, manifest.indexes, host.files, indexDirectory(host.cacheDirectory), catalogue.store);
  return baseOf(at, manifest);
}

export function baseOf(place: string, { indexes, order }: Pick<PublishedBase, 'indexes' | 'order'>): PublishedBase {
  return { place: lastingPlace(place), indexes, ...(order !== undefined && { order }) };
}

/** Digests, a line each; none when they are not here. */
export async function orderOf(here: Pick<FetchedContents['here'], 'has' | 'get'>, digest: string | undefined): Promise<readonly string[]> {
  if (digest === undefined || !(await here.has(digest))) return [];
  const text = await here.get(digest).catch(() => new Uint8Array());
  return new TextDecoder().decode(text).split('\n').filter(Boolean);
}

/** Says in its own words what cannot be had. */
class ExplainingStore extends OnDemandStore {
  readonly #explain: (error: unknown) => unknown;

  constructor({ here, index, fetcher }: PublishedContents, explain: (error: unknown) => unknown) {
    super(here, index, fetcher);
    this.#explain = explain;
  }

  override async get(digest: string): Promise<Uint8Array> {
    try {
      return await super.get(digest);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  override async fetchAll(...wanted: Parameters<OnDemandStore['fetchAll']>): Promise<void> {
    try {
      await super.fetchAll(...wanted);
    } catch (error) {
      throw this.#explain(error);
    }
  }
}

/** Fetches contents before they are asked for. What goes wrong, the request that needs it tells. */
export class FetchingAhead {
  readonly #abort = new AbortController();
  readonly #work: Promise<void>;

  constructor(store: OnDemandStore, digests: readonly string[]) {
    this.#work = store.fetchAhead(digests, this.#abort.signal).catch(() => {});
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#work;
  }
}
