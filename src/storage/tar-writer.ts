/** Writer of tar archives: ustar, with pax headers for what that cannot hold (POSIX.1-2017, pax); attributes as GNU tar and bsdtar have them. */
import type { ChunkStore } from './chunk-store.ts';
import type { Tree, TreeNode } from './tree.ts';

const BLOCK_BYTES = 512;
const FLAGS: Record<TreeNode['type'], string> = { file: '0', symlink: '2', char: '3', block: '4', directory: '5', fifo: '6' };
const LINK = '1';
const PAX = 'x';
const OCTAL_7_MAX = 0o7777777;
const OCTAL_11_MAX = 0o77777777777;
const encoder = new TextEncoder();

interface Header {
  readonly path: string;
  readonly target: string;
  readonly flag: string;
  readonly size: number;
}

/** Piece by piece. The same tree gives the same bytes. */
export async function* writeTar(tree: Tree, store: ChunkStore): AsyncGenerator<Uint8Array> {
  const first = new Map<TreeNode, string>();
  for (const [path, node] of tree.entries()) {
    const name = path === '' ? './' : node.type === 'directory' ? `${path}/` : path;
    const earlier = first.get(node);
    first.set(node, earlier ?? name);
    const header: Header =
      earlier !== undefined
        ? { path: name, target: earlier, flag: LINK, size: 0 }
        : {
            path: name,
            target: node.type === 'symlink' ? node.target : '',
            flag: FLAGS[node.type],
            size: node.type === 'file' ? node.sizeBytes : 0,
          };
    const pax = paxRecords(header, node);
    if (pax.length > 0) {
      yield block({ path: 'PaxHeaders/entry', target: '', flag: PAX, size: pax.length }, node);
      yield padded(pax);
    }
    yield block(header, node);
    if (header.size > 0 && node.type === 'file') yield padded(await store.get(node.digest));
  }
  yield new Uint8Array(2 * BLOCK_BYTES);
}

function paxRecords({ path, target, size }: Header, node: TreeNode): Uint8Array {
  const records: [string, Uint8Array][] = [];
  const add = (key: string, value: string | number) => records.push([key, encoder.encode(`${value}`)]);
  if (!fits(path)) add('path', path);
  if (!fits(target)) add('linkpath', target);
  if (size > OCTAL_11_MAX) add('size', size);
  if (node.uid > OCTAL_7_MAX) add('uid', node.uid);
  if (node.gid > OCTAL_7_MAX) add('gid', node.gid);
  if (node.mtime > OCTAL_11_MAX) add('mtime', node.mtime);
  for (const [name, value] of [...(node.xattrs ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) records.push([`SCHILY.xattr.${name}`, value]);
  return Uint8Array.from(records.flatMap(([key, value]) => [...record(key, value)]));
}

function fits(text: string): boolean {
  return text.length <= 100 && /^[\x20-\x7e]*$/.test(text);
}

/** `LENGTH KEY=VALUE\n`, LENGTH counting all of it. */
function record(key: string, value: Uint8Array): Uint8Array {
  const rest = encoder.encode(` ${key}=`).length + value.length + 1;
  let length = rest + 1;
  while (`${length}`.length + rest !== length) length = rest + `${length}`.length;
  const data = new Uint8Array(length);
  data.set(encoder.encode(`${length} ${key}=`));
  data.set(value, length - value.length - 1);
  data[length - 1] = 0x0a;
  return data;
}

function block({ path, target, flag, size }: Header, node: TreeNode): Uint8Array {
  const data = new Uint8Array(BLOCK_BYTES);
  const text = (at: number, value: string, length: number) => data.set(encoder.encode(value).subarray(0, length), at);
  // What is too large stands in the pax header.
  const octal = (at: number, value: number, digits: number) =>
    text(
      at,
      Math.min(value, 8 ** digits - 1)
        .toString(8)
        .padStart(digits, '0'),
      digits,
    );
  text(0, path, 100);
  octal(100, node.mode, 7);
  octal(108, node.uid, 7);
  octal(116, node.gid, 7);
  octal(124, size, 11);
  octal(136, node.mtime, 11);
  text(148, '        ', 8);
  text(156, flag, 1);
  text(157, target, 100);
  text(257, 'ustar', 5);
  text(263, '00', 2);
  if (flag === FLAGS.char || flag === FLAGS.block) {
    const { major, minor } = node as Extract<TreeNode, { major: number }>;
    octal(329, major, 7);
    octal(337, minor, 7);
  }
  const sum = data.reduce((total, byte) => total + byte, 0);
  octal(148, sum, 6);
  data[154] = 0;
  return data;
}

function padded(data: Uint8Array): Uint8Array {
  if (data.length % BLOCK_BYTES === 0) return data;
  const whole = new Uint8Array(Math.ceil(data.length / BLOCK_BYTES) * BLOCK_BYTES);
  whole.set(data);
  return whole;
}
