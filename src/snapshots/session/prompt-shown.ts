/** Enough to see a prompt in, with what colours it. */
const TAIL = 200;

/** Whether a console's text ends with the prompt of a root shell. What stands in escape sequences is for the terminal. */
export function endsWithPrompt(text: string): boolean {
  // oxlint-disable-next-line no-control-regex
  const seen = text.slice(-TAIL).replace(/\x1b\[[?\d;]*[a-zA-Z]/g, '');
  return seen.endsWith('# ');
}
