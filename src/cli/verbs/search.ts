/** `daybreak search`: what is published. */
import { VmError } from '../../base/errors.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import type { PublishedDay } from '../../snapshots/get/day.ts';
import { openSource } from '../../snapshots/get/open-source.ts';
import { origins } from '../../snapshots/get/origins.ts';
import { listPublished } from '../../snapshots/get/pull.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { fingerprintOf, pullHost, pullOptions } from '../publishing.ts';
import { formatTable } from '../table.ts';

/** A day, where it is published, and whether it is on this computer. */
interface Found {
  readonly place: string;
  readonly day: PublishedDay;
  readonly here: boolean;
}

export async function searchVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  const from = text(values, 'from');
  const fingerprint = fingerprintOf(text(values, 'trust'));
  if (fingerprint !== undefined && from === undefined) throw new VmError('usage', 'search: --trust says whose --from PLACE is');
  const places = from === undefined ? [...new Set((await origins(host.files, host.stateDirectory)).values())] : [from];
  if (places.length === 0)
    throw new VmError(
      'usage',
      'search: nothing was pulled here yet, so that no place is known: name one (daybreak search --from https://…)',
    );
  let status = EXIT_OK;
  const all: Found[] = [];
  for (const place of places) {
    try {
      all.push(...(await publishedAt(host, place, fingerprint)));
    } catch (error) {
      if (!(error instanceof VmError) || host.signal.aborted || places.length === 1) throw error;
      // The others may be well.
      host.messages.error(error.message);
      status = EXIT_FAILURE;
    }
  }
  const found = all.filter(({ day }) => positionals.every((word) => isAbout(day, word)));
  if (values['json']) {
    for (const one of found) print(`${JSON.stringify(forPrograms(one))}\n`);
    return status;
  }
  if (found.length === 0)
    host.messages.line(positionals.length === 0 ? 'nothing is published there' : `nothing there is about ${positionals.join(' ')}`);
  else print(values['days'] ? dayTable(found, places.length > 1) : nameTable(found, places.length > 1));
  return status;
}

async function publishedAt(host: Host, place: string, fingerprint: string | undefined): Promise<Found[]> {
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const days = await listPublished(openSource(host, place), await pullHost(host), await pullOptions(host, place, fingerprint));
  return Promise.all(
    days.map(async (day) => {
      const here = await catalogue.get(day.name, day.day).catch(() => undefined);
      return { place, day, here: here !== undefined && here.tree === day.summary?.tree };
    }),
  );
}

/** Whether a word is in what is told of a day. */
function isAbout({ name, day, summary }: PublishedDay, word: string): boolean {
  const told = [name, `${name}@${day}`, summary?.title ?? '', summary?.kernel ?? ''];
  return told.some((one) => one.toLowerCase().includes(word.toLowerCase()));
}

function forPrograms({ place, day: { name, day, summary }, here }: Found): object {
  return { name, day, ...summary, from: place, here };
}

/** The newest day of each name. `days` come newest first. */
function nameTable(days: readonly Found[], withPlace: boolean): string {
  const names = new Map<string, Found[]>();
  for (const one of days) {
    const key = `${one.place} ${one.day.name}`;
    names.set(key, [...(names.get(key) ?? []), one]);
  }
  const rows = [...names.values()].map((all) => [...cellsOf(all[0]!), String(all.length), ...placeOf(all[0]!, withPlace)]);
  return formatTable([[...HEAD, 'DAYS', ...(withPlace ? ['FROM', 'TITLE'] : ['TITLE'])], ...rows], [2, 3, 5]);
}

function dayTable(days: readonly Found[], withPlace: boolean): string {
  const rows = days.map((one) => [...cellsOf(one), ...placeOf(one, withPlace)]);
  return formatTable([[...HEAD, ...(withPlace ? ['FROM', 'TITLE'] : ['TITLE'])], ...rows], [2, 3]);
}

const HEAD = ['NAME', 'DAY', 'PACKAGES', 'SIZE', 'HERE'];

function cellsOf({ day: { name, day, summary }, here }: Found): string[] {
  return [name, day, summary ? String(summary.packageCount) : '-', summary ? formatBytes(summary.contentBytes) : '-', here ? 'yes' : 'no'];
}

function placeOf({ place, day: { summary } }: Found, withPlace: boolean): string[] {
  return [...(withPlace ? [place] : []), summary?.title ?? ''];
}
