/**
 * Recipes: what goes into a snapshot, as readable data (docs/recipes.md). A recipe is TOML; everything in it is checked, and what is
 * wrong is named by line and field. Nothing here looks at an archive or a file.
 */
import { parse, TomlError } from 'smol-toml';
import { VmError } from '../../base/errors.ts';
import { normalizePath } from '../../storage/tree.ts';
import { fieldReader, type FieldReader } from './fields.ts';

export interface RecipeFile {
  /** Where in the tree, without a slash before it. */
  readonly path: string;
  /** What is in it, or … */
  readonly content?: string;
  /** … a file beside the recipe that has it. */
  readonly source?: string;
  readonly mode: number;
}

export interface Probe {
  /** A shell command, run as root at the prompt of the machine that has booted the finished tree. */
  readonly run: string;
  /** A text that its output must have. */
  readonly expect?: string;
  /** The status that it must end with. */
  readonly status: number;
}

/** A recipe as it stands in its file, before what it builds on is looked at. */
export interface Recipe {
  readonly title?: string;
  /** The recipe that this one adds to. */
  readonly from?: string;
  /** Of Debian's archive; the newest version of a package in any of them is taken. */
  readonly suites: readonly string[];
  /** Besides those that are Essential or required. */
  readonly packages: readonly string[];
  /** The metapackage of the kernel that the tree is booted with. */
  readonly kernel?: string;
  /** Beginnings of paths that are not unpacked: `usr/share/man/`; `*` stands for anything but a slash. */
  readonly without: readonly string[];
  readonly files: readonly RecipeFile[];
  /** Shell commands, run as root in the machine when all packages are configured. */
  readonly commands: readonly string[];
  readonly probes: readonly Probe[];
}

const NAME = /^[a-z0-9][a-z0-9.+-]*(\/[a-z0-9][a-z0-9.+-]*)?$/;
const PACKAGE = /^[a-z0-9][a-z0-9+.-]+$/;
const SUITE = /^[a-z][a-z0-9-]*$/;
const MAX_RECIPE_BYTES = 1 << 20;

/** Whether a text can name a recipe: `OS` or `OS/EDITION`. */
export function isRecipeName(text: string): boolean {
  return NAME.test(text) && !text.includes('..');
}

/** `where` is the file's name, for messages. Throws VmError `usage`. */
export function parseRecipe(where: string, text: string): Recipe {
  if (text.length > MAX_RECIPE_BYTES) throw new VmError('usage', `${where}: a recipe of more than ${MAX_RECIPE_BYTES} bytes`);
  const top = fieldReader(where, text, toml(where, text), []);
  top.only(['title', 'from', 'suites', 'packages', 'kernel', 'without', 'files', 'commands', 'probes']);
  const title = top.string('title');
  const from = top.string('from', (value) => isRecipeName(value) || 'expected the name of a recipe, such as "debian"');
  const suites = top.strings('suites', (value) => SUITE.test(value) || 'expected the name of a suite, such as "unstable"');
  const kernel = top.string(
    'kernel',
    (value) => PACKAGE.test(value) || 'expected the name of a package, such as "linux-image-cloud-amd64"',
  );
  if (from === undefined && suites.length === 0)
    top.refuse('suites', 'missing: say which suites, as in suites = ["unstable"], or from = "debian"');
  if (from === undefined && kernel === undefined) top.refuse('kernel', 'missing: say which, as in kernel = "linux-image-cloud-amd64"');
  return {
    ...(title !== undefined && { title }),
    ...(from !== undefined && { from }),
    suites,
    packages: top.strings(
      'packages',
      (value) => PACKAGE.test(value) || 'expected the name of a package, in lower case and without a version',
    ),
    ...(kernel !== undefined && { kernel }),
    without: top.strings('without', pathProblem(where)).map((path) => path.replace(/^\/+/, '')),
    files: top.tables('files').map((table) => fileOf(where, table)),
    commands: top.strings('commands', (value) => value.trim() !== '' || 'an empty command'),
    probes: top.tables('probes').map(probeOf),
  };
}

function toml(where: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    throw new VmError('usage', `${where}:${error.line}:${error.column}: not TOML: ${what}`, error);
  }
}

const pathProblem =
  (where: string) =>
  (value: string): true | string => {
    try {
      return normalizePath(value, where) !== '' || 'expected a path inside the tree';
    } catch (error) {
      return error instanceof VmError ? error.message.replace(`${where}: `, '') : String(error);
    }
  };

function fileOf(where: string, table: FieldReader): RecipeFile {
  table.only(['path', 'content', 'source', 'mode']);
  const path =
    table.string('path', pathProblem(where)) ?? table.refuse('path', 'missing: say where the file goes, as in path = "/etc/motd"');
  const content = table.string('content');
  const source = table.string('source', (value) => {
    if (value.startsWith('/') || value.split(/[/\\]/).includes('..')) return 'expected a file beside or below the recipe';
    return value !== '' || 'expected the name of a file';
  });
  if ((content === undefined) === (source === undefined)) table.refuse('content', 'expected either content = "…" or source = "FILE"');
  const mode = table.string('mode', (value) => /^[0-7]{3,4}$/.test(value) || 'expected an octal mode, such as "0755"');
  return {
    path: normalizePath(path, where),
    ...(content !== undefined && { content }),
    ...(source !== undefined && { source }),
    mode: Number.parseInt(mode ?? '0644', 8),
  };
}

function probeOf(table: FieldReader): Probe {
  table.only(['run', 'expect', 'status']);
  const run = table.string('run', (value) => (value.trim() !== '' && !/[\n\r\0]/.test(value)) || 'expected one line of shell');
  const expect = table.string('expect');
  return {
    run: run ?? table.refuse('run', 'missing: say what to run, as in run = "systemctl is-system-running"'),
    ...(expect !== undefined && { expect }),
    status: table.integer('status', 0, 255) ?? 0,
  };
}
