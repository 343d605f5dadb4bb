/** What `--stats` prints: a processor's counts, in words for people or as JSON for programs. */
import { VmError } from '../base/errors.ts';
import type { VCpuCounts } from '../machine/vcpu.ts';
import type { ParsedArguments } from './arguments.ts';
import { formatBytes, type Messages } from './messages.ts';

/** How the counts are to be printed; undefined: not at all. Throws VmError `usage` for `--json` alone. */
export function statsFormat(values: ParsedArguments['values']): 'words' | 'json' | undefined {
  if (values['json'] && !values['stats']) throw new VmError('usage', '--json: it says how --stats prints, and needs it');
  if (!values['stats']) return undefined;
  return values['json'] ? 'json' : 'words';
}

export function printStats(messages: Messages, counts: VCpuCounts, format: 'words' | 'json' | undefined): void {
  if (format === 'json') messages.line(JSON.stringify(counts));
  else if (format === 'words') for (const line of statsLines(counts)) messages.line(line);
}

/** A name, an amount, and what there is to say of it. */
type Line = readonly [name: string, amount: string, remark?: string];

/** One line each, in columns. */
export function statsLines({
  instructions,
  interpreted,
  compiled,
  decoded,
  tlbMisses,
  invalidations,
  exits,
  compiler,
}: VCpuCounts): string[] {
  const all = Object.values(exits).reduce((sum, count) => sum + count, 0);
  const causes = Object.entries(exits)
    .filter(([, count]) => count > 0)
    .toSorted(([, a], [, b]) => b - a);
  const lines: Line[] = [
    ['instructions', formatCount(instructions)],
    ['  interpreted', formatCount(interpreted), share(interpreted, instructions)],
    ...(compiler ? [['  compiled', formatCount(compiled), share(compiled, instructions)] as const] : []),
    ['  decoded', formatCount(decoded)],
  ];
  if (compiler) {
    const { regions, dropped, steps, modules, bytes, refused, findMs, emitMs, moduleMs } = compiler;
    lines.push(
      ['regions', formatCount(regions), `of ${formatCount(steps)} instructions; ${formatCount(dropped)} dropped`],
      [
        'modules',
        formatCount(modules),
        `${formatBytes(bytes)}${refused > 0 ? `; ${formatCount(refused)} more that the host refused` : ''}`,
      ],
      [
        'compile time',
        formatTime(findMs + emitMs + moduleMs),
        `find ${formatTime(findMs)}, emit ${formatTime(emitMs)}, module ${formatTime(moduleMs)}`,
      ],
    );
  }
  lines.push(
    ['exits', formatCount(all)],
    ...causes.map(([cause, count]): Line => [`  ${cause}`, formatCount(count), share(count, all)]),
    ['TLB misses', formatCount(tlbMisses)],
    ['invalidations', formatCount(invalidations)],
  );
  return lines.map(([name, amount, remark = '']) => `${name.padEnd(14)} ${amount.padStart(10)}  ${remark}`.trimEnd());
}

/** Up to five digits as they are, else with a unit: `12,345`, `1.2 M`. */
export function formatCount(count: number): string {
  for (const [unit, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e5, 'k']] as const) {
    if (count < unit) continue;
    return letter === 'k' ? `${Math.floor(count / 1000)} k` : `${(count / unit).toFixed(1)} ${letter}`;
  } // prettier-ignore
  return count.toLocaleString('en-US');
}

function formatTime(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function share(part: number, whole: number): string {
  return whole === 0 ? '' : `${((part / whole) * 100).toFixed(1)} %`;
}
