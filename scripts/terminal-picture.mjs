// Draws what a terminal showed as an SVG: `script -q -c 'npm start' session; node scripts/terminal-picture.mjs session > docs/terminal.svg`.
// Understands what our messages and a plain shell send: colours, carriage return, erase to the end of the line.
import { readFileSync } from 'node:fs';

const COLUMNS = 110;
const CELL = { width: 8.4, height: 18 };
const MARGIN = 16;
const TITLE_BAR = 30;
const COLOURS = { 31: '#ff7b72', 32: '#7ee787', 33: '#e3b341', 34: '#79c0ff', 35: '#d2a8ff', 36: '#39c5cf' };
const FOREGROUND = '#c9d1d9';
const DIM = '#484f58';

/** Rows of cells { text, colour }. */
function screen(capture) {
  const rows = [[]];
  let column = 0;
  let colour = FOREGROUND;
  // oxlint-disable-next-line no-control-regex
  for (const [token, parameters, command] of capture.matchAll(/\x1b\[([?\d;]*)([A-Za-z])|\x1b[>=]|[\s\S]/gu)) {
    if (command === 'm') {
      for (const code of (parameters || '0').split(';'))
        colour = code === '0' ? FOREGROUND : code === '2' ? DIM : (COLOURS[code] ?? colour);
    } else if (command === 'K') rows.at(-1).length = column;
    else if (command === 'G') column = Number(parameters || 1) - 1;
    else if (token === '\r') column = 0;
    else if (token === '\n') rows.push([]);
    else if (!command && token >= ' ' && token[0] !== '\x1b') {
      if (column === COLUMNS) {
        rows.push([]);
        column = 0;
      }
      rows.at(-1)[column++] = { text: token, colour };
    }
  }
  const used = rows.map((cells) => cells.findLastIndex((cell) => cell && cell.text !== ' ') + 1);
  const first = used.findIndex((length) => length > 0);
  const last = used.findLastIndex((length) => length > 0);
  return rows.slice(first, last + 1).map((cells) => Array.from(cells, (cell) => cell ?? { text: ' ', colour: FOREGROUND }));
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const round = (x) => Math.round(x * 10) / 10;

/** One text element per stretch of one colour, so that a font of another width does not shift what follows. */
function drawRow(cells, y) {
  const parts = [];
  for (let from = 0; from < cells.length;) {
    let to = from + 1;
    while (to < cells.length && cells[to].colour === cells[from].colour) to++;
    const text = cells
      .slice(from, to)
      .map((cell) => cell.text)
      .join('');
    if (text.trim() !== '') {
      const width = round((to - from) * CELL.width);
      parts.push(
        `<text x="${round(MARGIN + from * CELL.width)}" y="${y}" fill="${cells[from].colour}" textLength="${width}">${escape(text)}</text>`,
      );
    }
    from = to;
  }
  return parts.join('\n');
}

const rows = screen(readFileSync(process.argv[2], 'utf8'));
const width = Math.ceil(COLUMNS * CELL.width + 2 * MARGIN);
const height = TITLE_BAR + rows.length * CELL.height + MARGIN;
const dots = ['#ff5f56', '#ffbd2e', '#27c93f'].map((fill, n) => `<circle cx="${18 + n * 20}" cy="15" r="6" fill="${fill}"/>`).join('');
process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<title>A terminal: npm start fetches Debian unstable and ends at its shell</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>${dots}
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" xml:space="preserve">
${rows
  .map((cells, n) => drawRow(cells, TITLE_BAR + n * CELL.height + 13))
  .filter(Boolean)
  .join('\n')}
</g>
</svg>
`,
);
