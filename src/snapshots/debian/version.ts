/** Order of Debian package versions. Debian Policy 5.6.12, deb-version(7). */

/** Negative when `a` is older, 0 when equal, positive when newer. */
export function compareVersions(a: string, b: string): number {
  const left = split(a);
  const right = split(b);
  return left.epoch - right.epoch || compareParts(left.upstream, right.upstream) || compareParts(left.revision, right.revision);
}

export type Relation = '<<' | '<=' | '=' | '>=' | '>>';

/** Whether `version` stands in `relation` to `bound`. */
export function versionFits(version: string, relation: Relation, bound: string): boolean {
  const order = compareVersions(version, bound);
  switch (relation) {
    case '<<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '=':
      return order === 0;
    case '>=':
      return order >= 0;
    case '>>':
      return order > 0;
  }
}

function split(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(':');
  const epoch = colon < 0 ? 0 : Number(version.slice(0, colon)) || 0;
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf('-');
  return dash < 0 ? { epoch, upstream: rest, revision: '' } : { epoch, upstream: rest.slice(0, dash), revision: rest.slice(dash + 1) };
}

/** `~` before everything, even the end; then the end; then letters; then the rest. */
function weight(char: string | undefined): number {
  if (char === '~') return -1;
  if (char === undefined || /\d/.test(char)) return 0;
  const code = char.codePointAt(0)!;
  return /[A-Za-z]/.test(char) ? code : code + 256;
}

const digit = (char: string | undefined): boolean => char !== undefined && char >= '0' && char <= '9';

function compareParts(a: string, b: string): number {
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    while ((i < a.length && !digit(a[i])) || (j < b.length && !digit(b[j]))) {
      const order = weight(a[i]) - weight(b[j]);
      if (order !== 0) return order;
      i++;
      j++;
    }
    while (a[i] === '0') i++;
    while (b[j] === '0') j++;
    let first = 0;
    while (digit(a[i]) && digit(b[j])) {
      first ||= a.codePointAt(i)! - b.codePointAt(j)!;
      i++;
      j++;
    }
    if (digit(a[i])) return 1;
    if (digit(b[j])) return -1;
    if (first !== 0) return first;
  }
  return 0;
}
