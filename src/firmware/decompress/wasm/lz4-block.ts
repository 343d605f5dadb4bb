/**
 * LZ4 blocks ("LZ4 Block Format Description", 2022), from a stretch of input to a window of output, both moved on by the caller. AssemblyScript;
 * `../lz4-code.ts` has what it is compiled to.
 *
 * It stops where the input or the room in the window ends, and goes on there when it is called again. Bytes are copied by sixteens, so
 * up to sixteen behind what was meant are written, and read, too: places overlap nothing that matters.
 */
export const INPUT: u32 = 0;
export const INPUT_SIZE: u32 = 0x2_0000;
/** The window begins with what matches may refer to; new output goes behind that. */
const WINDOW: u32 = 0x2_0100;
const HISTORY: u32 = 0x1_0000;
export const OUTPUT: u32 = WINDOW + HISTORY;
const OUTPUT_END: u32 = 0x5_0100;
/** Longer than the lengths of any sequence that is right: they come in steps of 255, up to 8 MiB. */
const AHEAD: u32 = 0xa000;

/** Why `unpack` stopped. */
export const NEEDS_INPUT: i32 = 0;
export const NEEDS_ROOM: i32 = 1;
export const CUT_OFF: i32 = 2;
export const TOO_LONG: i32 = 3;
export const TOO_FAR_BACK: i32 = 4;

const TOKEN = 0;
const LITERALS = 1;
const OFFSET = 2;
const MATCH = 3;
const MIN_MATCH: u32 = 4;

/** Next byte of input, and one past the last that is there. */
let at: u32 = INPUT;
let end: u32 = INPUT;
/** Where the next byte of output goes. */
export let to: u32 = WINDOW + HISTORY;
/** Where the block's first byte would be if the window had always been long enough. */
let begin: i32 = OUTPUT;
/** Bytes that the block may still give. */
export let left: u32 = 0;
/** How far back the last match referred. */
export let distance: u32 = 0;

let stage: i32 = TOKEN;
let literals: u32 = 0;
let match: u32 = 0;

/** A block begins, which gives at most `limit` bytes. */
export function start(limit: u32): void {
  at = INPUT;
  end = INPUT;
  begin = to;
  left = limit;
  stage = TOKEN;
}

/** Moves input that is not used yet to its beginning; answers how much that is. More goes behind it. */
export function keepInput(): u32 {
  const kept = end - at;
  memory.copy(INPUT, at, kept);
  return kept;
}

/** All the input that is there now. */
export function give(bytes: u32): void {
  at = INPUT;
  end = INPUT + bytes;
}

/** Makes room: what was put out is history now. */
export function slide(): void {
  memory.copy(WINDOW, to - HISTORY, HISTORY);
  begin -= to - OUTPUT;
  to = OUTPUT;
}

/** The rest of a length that begins with 15; ends with `at` beyond `end` when it is cut off. */
function longLength(): u32 {
  let length: u32 = 15;
  let more: u32;
  do {
    more = load<u8>(at++);
    length += more;
  } while (more == 255 && at < end);
  if (more == 255) at = end + 1;
  return length;
}

function copy(target: u32, source: u32, count: u32): void {
  const limit = target + count;
  do {
    v128.store(target, v128.load(source));
    target += 16;
    source += 16;
  } while (target < limit);
}

/** The last `back` bytes over and over. What is less than sixteen back is doubled until it is not. */
function repeat(target: u32, back: u32, count: u32): void {
  const source = target - back;
  while (back < 16 && count > 0) {
    const some = min(back, count);
    for (let i: u32 = 0; i < some; i++) store<u8>(target + i, load<u8>(source + i));
    target += some;
    count -= some;
    back += some;
  }
  if (count > 0) copy(target, source, count);
}

/** Goes on until something is missing. `last`: the input given is all that the block has. */
export function unpack(last: bool): i32 {
  const stop = last ? end : end - AHEAD;
  while (true) {
    if (stage == TOKEN) {
      if (<i32>at >= <i32>stop) return NEEDS_INPUT;
      const token = load<u8>(at++);
      literals = token >> 4;
      match = (token & 15) + MIN_MATCH;
      if (literals == 15) literals = longLength();
      if (at > end) return CUT_OFF;
      if (literals > left) return TOO_LONG;
      left -= literals;
      stage = LITERALS;
    }
    if (stage == LITERALS) {
      const some = min(literals, min(OUTPUT_END - to, end - at));
      copy(to, at, some);
      at += some;
      to += some;
      literals -= some;
      if (literals > 0) return to == OUTPUT_END ? NEEDS_ROOM : last ? CUT_OFF : NEEDS_INPUT;
      stage = OFFSET;
    }
    if (stage == OFFSET) {
      // The last sequence of a block has no match.
      if (<i32>at >= <i32>stop) return NEEDS_INPUT;
      if (at + 2 > end) return CUT_OFF;
      distance = load<u16>(at);
      at += 2;
      if (distance == 0 || <i32>distance > <i32>to - begin) return TOO_FAR_BACK;
      if (match == 15 + MIN_MATCH) {
        if (at >= end) return CUT_OFF;
        match = longLength() + MIN_MATCH;
        if (at > end) return CUT_OFF;
      }
      if (match > left) return TOO_LONG;
      left -= match;
      stage = MATCH;
    }
    const some = min(match, OUTPUT_END - to);
    repeat(to, distance, some);
    to += some;
    match -= some;
    if (match > 0) return NEEDS_ROOM;
    stage = TOKEN;
  }
}
