/** What a word on the command line may become: shells ask for it through `daybreak __complete`. */
import { Catalogue } from '../snapshots/catalogue/catalogue.ts';
import { origins } from '../snapshots/get/origins.ts';
import type { Host } from './host.ts';
import { MachineRegistry } from './machines/registry.ts';
import { isVerb, USAGES, VERB_NAMES } from './usage/table.ts';
import { HELP, type OptionUsage, type Usage, type Words } from './usage/usage.ts';

/** A shell's candidate, and what it is. */
export type Candidate = readonly [word: string, about: string];

export interface Completion {
  readonly candidates: readonly Candidate[];
  /** Names of files, or of directories, besides. */
  readonly paths: 'none' | 'files' | 'directories';
}

const NOTHING: Completion = { candidates: [], paths: 'none' };

/** What a shell need not quote; a tilde or a bracket would mean something to it. */
const PLAIN = /^[\p{L}\p{N}@%_+=:,./-]+$/u;

/** @param words those behind the program's name, up to the cursor; the last one, which may be empty, is to be completed */
export async function complete(host: Host, words: readonly string[]): Promise<Completion> {
  const current = words.at(-1) ?? '';
  const { candidates, paths } = await completeAfter(host, words.slice(0, -1), current);
  return { candidates: candidates.filter(([word]) => word.startsWith(current) && PLAIN.test(word)), paths };
}

async function completeAfter(host: Host, [verb, ...before]: readonly string[], current: string): Promise<Completion> {
  if (verb === undefined) {
    if (!current.startsWith('-')) return listed(VERB_NAMES.map((name) => [name, USAGES[name].summary[0]![1]]));
    return listed([['--help', 'what verbs there are'], ['--version', 'print the version']]); // prettier-ignore
  }
  if (!isVerb(verb)) return NOTHING;
  const usage: Usage = USAGES[verb];
  // What is behind -- is the guest's.
  if (before.includes('--')) return NOTHING;
  const { operands, given, open } = readBefore(usage, before);
  if (open) return valuesOf(host, open.words, []);
  const assignment = /^--([a-z-]+)=/.exec(current);
  if (assignment) {
    const option = optionOf(usage, assignment[1]!);
    if (option?.value === undefined) return NOTHING;
    const { candidates, paths } = await valuesOf(host, option.words, []);
    return { candidates: candidates.map(([word, about]) => [`--${assignment[1]}=${word}`, about]), paths };
  }
  if (current.startsWith('-')) {
    const options = Object.entries<OptionUsage>({ ...usage.options, help: HELP }).filter(
      ([name, { multiple }]) => multiple || !given.has(name),
    );
    return listed(options.map(([name, { about }]) => [`--${name}`, about]));
  }
  const last = usage.operands.length - 1;
  if (operands.length > last && !usage.repeats) return NOTHING;
  return valuesOf(host, usage.operands[Math.min(operands.length, last)], operands);
}

function listed(candidates: readonly Candidate[]): Completion {
  return { candidates, paths: 'none' };
}

function optionOf(usage: Usage, name: string): OptionUsage | undefined {
  return Object.hasOwn(usage.options, name) ? usage.options[name] : undefined;
}

/** What stands before the word: operands, options, and the option whose value the word is. */
function readBefore(usage: Usage, words: readonly string[]): { operands: string[]; given: Set<string>; open: OptionUsage | undefined } {
  const [operands, given] = [[] as string[], new Set<string>()];
  let open: OptionUsage | undefined;
  for (const word of words) {
    if (open) {
      open = undefined;
      continue;
    }
    const [, name, equals] = /^--([a-z-]+)(=)?/.exec(word) ?? [];
    if (name === undefined) {
      if (!word.startsWith('-')) operands.push(word);
      continue;
    }
    given.add(name);
    const option = optionOf(usage, name);
    if (option?.value !== undefined && equals === undefined) open = option;
  }
  return { operands, given, open };
}

/** @param taken operands that are there already: nobody stops a machine twice */
async function valuesOf(host: Host, words: Words | undefined, taken: readonly string[]): Promise<Completion> {
  if (words === undefined || words === 'anything') return NOTHING;
  if (words === 'file') return { candidates: [], paths: 'files' };
  if (words === 'directory') return { candidates: [], paths: 'directories' };
  if (typeof words !== 'string') return listed(words.map((word) => [word, '']));
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  switch (words) {
    case 'verb':
      return listed(VERB_NAMES.map((name) => [name, USAGES[name].summary[0]![1]]));
    case 'running': {
      const running = await new MachineRegistry(host.files, await host.runtimeDirectory()).list();
      return listed(running.filter(({ facts }) => !taken.includes(facts.name)).map(({ facts }) => [facts.name, facts.of]));
    }
    case 'kept':
      return listed((await catalogue.keptNames()).filter((name) => !taken.includes(name)).map((name) => [name, 'a machine that is kept']));
    case 'place': {
      const places = new Set((await origins(host.files, host.stateDirectory)).values());
      return { candidates: [...places].map((place) => [place, 'where something came from before']), paths: 'directories' };
    }
    case 'recipe': {
      const recipes = await recipeNames(host, host.recipeDirectory);
      return { candidates: recipes.map((name) => [name, 'a recipe']), paths: 'files' };
    }
    case 'local snapshot':
      return listed(await localSnapshots(catalogue));
    case 'snapshot': {
      const pulled = [...(await origins(host.files, host.stateDirectory)).keys()];
      const local = await localSnapshots(catalogue);
      const known = new Set(local.map(([name]) => name));
      const more = ['debian', ...pulled].filter((name) => !known.has(name));
      return listed([...local, ...[...new Set(more)].map((name): Candidate => [name, ''])]);
    }
  }
}

/** Names, then each with its days. */
async function localSnapshots(catalogue: Catalogue): Promise<Candidate[]> {
  const all = await catalogue.list(() => {});
  const names = new Map<string, string>();
  for (const { name, title } of all) if (!names.has(name)) names.set(name, title ?? 'its newest day');
  return [...names, ...all.map(({ name, day, title }): Candidate => [`${name}@${day}`, title ?? ''])];
}

/** Those that come with the product: files NAME.toml, and OS/EDITION.toml. */
async function recipeNames(host: Host, directory: string, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for (const file of await host.files.list(directory)) {
    if (file.endsWith('.toml')) found.push(`${prefix}${file.slice(0, -5)}`);
    else if (prefix === '') found.push(...(await recipeNames(host, `${directory}/${file}`, `${file}/`)));
  }
  return found;
}
