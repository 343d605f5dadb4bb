/** What the page says about a machine. */
import type { EndMessage, FiguresMessage } from './protocol.ts';

/** How it ended, for people. What went wrong is said elsewhere. */
export function endWords(end: EndMessage): string {
  switch (end.kind) {
    case 'poweroff':
      return 'The machine is powered off.';
    case 'reset':
      return 'The machine was reset, which ended it.';
    case 'stopped':
      return 'The machine was stopped.';
    case 'debug-exit':
      return `The machine ended by debug exit with ${end.value}.`;
    case 'failed':
      return 'The machine failed.';
  }
}

/** Speed since the figures before, and the sum. */
export function figureWords(now: FiguresMessage, before: FiguresMessage | undefined): string {
  const ms = now.elapsedMs - (before?.elapsedMs ?? 0);
  const done = now.stats.instructions - (before?.stats.instructions ?? 0);
  const mips = ms > 0 ? done / ms / 1000 : 0;
  const seconds = Math.floor(now.elapsedMs / 1000);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return `${mips < 10 ? mips.toFixed(1) : mips.toFixed(0)} million instructions/s · ${short(now.stats.instructions)} in ${clock}`;
}

export function short(count: number): string {
  for (const [unit, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M']] as const) if (count >= unit) return `${(count / unit).toFixed(1)} ${letter}`; // prettier-ignore
  return String(count);
}
