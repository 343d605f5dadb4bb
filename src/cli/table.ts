/** Tables for people: columns as wide as their widest cell, two spaces apart. */

/** One line of a text by others, with something in place of each control character. */
export function withoutControls(text: string, instead: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, instead);
}

/** `right` names the columns, from 0, whose cells stand at the right. Others have a say in cells: no control character gets to the terminal. */
export function formatTable(cells: readonly (readonly string[])[], right: readonly number[] = []): string {
  const rows = cells.map((row) => row.map((cell) => withoutControls(cell, '?')));
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map(
      (row) =>
        row
          .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
          .join('  ')
          .trimEnd() + '\n',
    )
    .join('');
}
