/**
 * How a verb is used: what its arguments are read by, what its help says, and what shells complete it by all follow from one
 * description. Nothing here may be slow to load: every start of the program reads it.
 */

/** What a word of the command line can be. */
export type Words =
  | 'file'
  | 'directory'
  /** A snapshot's name, with or without a day: of this computer, or published where names came from before. */
  | 'snapshot'
  /** A snapshot of this computer. */
  | 'local snapshot'
  | 'recipe'
  /** A machine that runs. */
  | 'running'
  /** A machine that is kept. */
  | 'kept'
  /** Where days are published. */
  | 'place'
  | 'verb'
  /** Something that only the person knows. */
  | 'anything'
  | readonly string[];

export interface OptionUsage {
  /** What help calls its value; absent: it has none. */
  readonly value?: string;
  /** What the value can be. */
  readonly words?: Words;
  /** May be given several times. */
  readonly multiple?: true;
  readonly about: string;
}

export interface Usage {
  /** Lines of `daybreak --help`: a call, and what it does. */
  readonly summary: readonly (readonly [call: string, does: string])[];
  /** What stands behind the verb's name: a line each. */
  readonly synopsis: readonly string[];
  readonly about: string;
  /** What its words can be. */
  readonly operands: readonly Words[];
  /** The last one stands for all that follow. */
  readonly repeats?: true;
  /** It takes a command behind `--`. */
  readonly command?: true;
  readonly options: Readonly<Record<string, OptionUsage>>;
  /** What help says behind the options. */
  readonly after?: string;
}

export const HELP: OptionUsage = { about: 'this text' };

/** Longer names of options stand on a line of their own. */
const NAME_MAX = 22;
const LINE_MAX = 118;

/** What `daybreak VERB --help` prints. */
export function helpOf(verb: string, { synopsis, about, options, after }: Usage): string {
  const calls = synopsis.map((line, n) => `${n === 0 ? 'Usage:' : '      '} daybreak ${verb}${line && ` ${line}`}`);
  const names = Object.entries({ ...options, help: HELP }).map(([name, { value, about: text }]) => {
    const long = `--${name}${value === undefined ? '' : ` ${value}`}`;
    return [name === 'help' ? `-h, ${long}` : long, text] as const;
  });
  const width = Math.min(NAME_MAX, Math.max(...names.map(([name]) => name.length)));
  const lines = names.flatMap(([name, text]) => {
    const [first = '', ...more] = wrapped(text, LINE_MAX - width - 4);
    const rest = more.map((line) => `${' '.repeat(width + 4)}${line}`);
    return name.length > width
      ? [`  ${name}`, `${' '.repeat(width + 4)}${first}`, ...rest]
      : [`  ${name.padEnd(width)}  ${first}`, ...rest];
  });
  return [...calls, '', about, '', 'Options:', ...lines, ...(after === undefined ? [] : ['', after])].join('\n') + '\n';
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line += (line && ' ') + word;
  }
  return [...lines, line];
}
