/** All verbs, in the order in which help lists them: the one list that arguments, help and shells' completion follow from. */
import { PUBLISH, PULL, SEARCH, UPDATE, VERIFY } from './publishing.ts';
import { BOOT, KEEP, PS, RM, STOP, TRY } from './running.ts';
import { BUILD, DIFF, EXPORT, INFO, LIST, PRUNE } from './snapshots.ts';
import { COMPLETION, DOCTOR, HELP_VERB, SERVE, VERSION } from './tools.ts';
import type { Usage } from './usage.ts';

export const USAGES = {
  try: TRY,
  boot: BOOT,
  ps: PS,
  stop: STOP,
  keep: KEEP,
  rm: RM,
  build: BUILD,
  list: LIST,
  info: INFO,
  diff: DIFF,
  search: SEARCH,
  pull: PULL,
  update: UPDATE,
  export: EXPORT,
  prune: PRUNE,
  publish: PUBLISH,
  verify: VERIFY,
  serve: SERVE,
  doctor: DOCTOR,
  completion: COMPLETION,
  help: HELP_VERB,
  version: VERSION,
} satisfies Record<string, Usage>;

export type VerbName = keyof typeof USAGES;

export const VERB_NAMES = Object.keys(USAGES) as readonly VerbName[];

export function isVerb(name: string): name is VerbName {
  return Object.hasOwn(USAGES, name);
}
