/**
 * The instructions that programs of all kinds consist of, in 64-bit code: nineteen of twenty that are executed. They are cases of one
 * function (core.ts); all others have a handler each, as has what calls the runtime (multiplication of 64 bits).
 */
import { assert } from '../../base/errors.ts';
import { relationOf } from '../flags.ts';
import type { Variant } from '../ops.ts';

/** An encoding's pattern and the shapes of it: operand sizes (none: any) and memory kinds. */
type Shape = readonly [pattern: string, sizes: string, memory: string];

const WIDE = '32 64';
const ANY = '';
const REG = 'none';
const LOAD = 'simple general';
const BOTH = 'none simple general';

const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');

const SHAPES: readonly Shape[] = [
  // moves
  ['88 /r', ANY, 'none simple'], ['89 /r', WIDE, BOTH], ['89 /r', '16', 'simple'], ['8A /r', ANY, LOAD], ['8B /r', WIDE, BOTH],
  ['B8 +r', WIDE, REG], ['C6 /0', ANY, 'simple'], ['C7 /0', WIDE, 'none simple'], ['8D /r mem', WIDE, LOAD],
  ['63 /r', '64', BOTH], ['0F B6 /r', '32', BOTH], ['0F B7 /r', '32', BOTH], ['0F BE /r', '32', 'none simple'], ['98', '64', REG],
  // arithmetic
  ...['01', '29'].flatMap((op): Shape[] => [[`${op} /r`, WIDE, 'none simple']]),
  ...['09', '21', '31'].flatMap((op): Shape[] => [[`${op} /r`, WIDE, REG]]),
  ['39 /r', WIDE, 'none simple'], ['38 /r', ANY, 'none simple'],
  ['03 /r', WIDE, 'simple general'], ['2B /r', WIDE, 'simple general'], ['3B /r', WIDE, 'simple general'], ['23 /r', WIDE, 'simple'], ['33 /r', WIDE, 'simple'],
  ['83 /0', WIDE, 'none simple'], ['83 /1', WIDE, REG], ['83 /4', WIDE, REG], ['83 /5', WIDE, REG], ['83 /7', WIDE, BOTH],
  ['81 /0', WIDE, REG], ['81 /4', WIDE, REG], ['81 /5', WIDE, REG], ['81 /7', WIDE, 'none simple'],
  ['05', WIDE, REG], ['25', WIDE, REG], ['3C', ANY, REG], ['3D', WIDE, REG], ['80 /7', ANY, BOTH], ['80 /4', ANY, 'none'],
  ['84 /r', ANY, REG], ['85 /r', WIDE, REG], ['A8', ANY, REG], ['A9', '32', REG], ['F6 /0', ANY, 'none simple'], ['F7 /0', WIDE, REG],
  ['F7 /2', WIDE, REG], ['F7 /3', WIDE, REG], ['FF /0', WIDE, 'none'], ['FF /0', '32', LOAD], ['FF /1', WIDE, REG], ['FF /1', '32', LOAD],
  ['0F AF /r', '32', REG], ['69 /r', '32', REG], ['6B /r', '32', REG],
  ['C1 /0', '32', REG], ['C1 /4', WIDE, REG], ['C1 /5', WIDE, REG], ['C1 /7', WIDE, REG], ['D1 /5', WIDE, REG], ['D3 /4', WIDE, REG], ['D3 /5', WIDE, REG],
  // stack and jumps
  ['50 +r', '64', REG], ['58 +r', '64', REG], ['6A', '64', REG], ['E8', '64', REG], ['FF /2', '64', 'none simple'], ['C3', '64', REG],
  ['EB', '64', REG], ['E9', '64', REG], ['FF /4', '64', 'none simple general'],
  ...[4, 5].flatMap((code): Shape[] => [[`0F ${hex(0x40 + code)} /r`, WIDE, REG], [`0F ${hex(0x90 + code)} /r`, ANY, REG]]),
  ['0F 1F /r', ANY, LOAD], ['90', ANY, REG],
]; // prettier-ignore

/** Of those, what programs set flags by for a conditional jump that follows. */
const TESTS: readonly Shape[] = [
  ['39 /r', WIDE, 'none simple'], ['3B /r', WIDE, 'simple'], ['38 /r', ANY, REG], ['83 /7', WIDE, 'none simple'], ['81 /7', WIDE, REG], ['3C', ANY, REG], ['3D', WIDE, REG],
  ['80 /7', ANY, 'none simple'], ['84 /r', ANY, REG], ['85 /r', WIDE, REG], ['A8', ANY, REG], ['F6 /0', ANY, 'none simple'],
  ['83 /4', '32', REG], ['83 /0', '64', REG], ['83 /5', WIDE, REG], ['29 /r', '64', REG], ['FF /1', WIDE, REG],
]; // prettier-ignore

/** Conditional jumps, but for those on overflow and parity. */
const JUMPS: readonly Shape[] = Array.from({ length: 16 }, (_, code) => code)
  .filter((code) => relationOf(code) !== 0)
  .flatMap((code) => [
    [hex(0x70 + code), '64', REG],
    [`0F ${hex(0x80 + code)}`, '64', REG],
  ]);

export interface Common {
  readonly plain: readonly Variant[];
  /** Of `plain`, those that make pairs with `jumps`. */
  readonly tests: readonly Variant[];
  readonly jumps: readonly Variant[];
}

/** What is common of a list of all variants. */
export function commonOf(all: readonly Variant[]): Common {
  const byPattern = new Map<string, Variant[]>();
  for (const variant of all) {
    const { encoding, long, rep } = variant;
    if (!long || encoding.vex || rep !== 'none' || typeof encoding.row.semantics === 'string') continue;
    const pattern = encoding.text.slice(0, encoding.text.indexOf(':'));
    const variants = byPattern.get(pattern);
    if (variants) variants.push(variant);
    else byPattern.set(pattern, [variant]);
  }
  const pick = ([pattern, sizes, kinds]: Shape): readonly Variant[] => {
    const [memoryKinds, operandSizes] = [kinds.split(' '), sizes.split(' ').map(Number)];
    const fits = ({ encoding, operandSize, memory }: Variant): boolean =>
      memoryKinds.includes(memory) && (sizes === ANY || !encoding.sized || operandSizes.includes(operandSize));
    const found = byPattern.get(pattern)?.filter(fits) ?? [];
    assert(found.length > 0, `there is a common ${pattern}`);
    return found;
  };
  const common = { plain: SHAPES.flatMap(pick), tests: TESTS.flatMap(pick), jumps: JUMPS.flatMap(pick) };
  const plain = new Set(common.plain);
  assert(plain.size === common.plain.length, 'what is common is listed once');
  assert(
    common.tests.every((test) => plain.has(test)),
    'tests are common',
  );
  return common;
}
