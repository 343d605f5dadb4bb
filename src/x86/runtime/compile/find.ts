/**
 * Which guest code is compiled together: from a hot record along the ways that execution takes, over calls, returns and
 * page borders, as far as the limits go. Leaves a region at COMPILE_INPUT: IN_* and what follows in codes.ts.
 */
import * as L from '../layout';
import { recordAt } from '../decode';
import * as C from './codes';

/** Instructions and blocks of a region: beyond this V8's optimiser takes more than its share. */
const MOST_STEPS: u32 = 300;
const MOST_BLOCKS: u32 = 64;
/** Instructions of a block: their number has to fit an exit's target, see leaveAt. */
const MOST_IN_BLOCK: u32 = 31;
/** Instructions of a function that is compiled into each caller's region. */
const MOST_IN_LEAF: u32 = 40;
const MOST_PAGES: u32 = 8;

// A place: what is known of an offset from the base of the page that the region is found from. Offsets may be negative.
const P_AT = 0; // i32
const P_STAMP = 4; // u32: of which search
const P_RECORD = 8; // u32
const P_BITS = 12; // u32
const P_TEMPLATE = 16; // u32
const P_DECODED = 20; // u32
const PLACE_BYTES: u32 = 24;
const PLACES: u32 = 2048;
/** Beyond, places are not looked at. */
const MOST_PLACES: u32 = 1600;
const TABLE: u32 = L.COMPILE_PLACES;
/** Stands for all places beyond. */
const NOWHERE: u32 = TABLE + PLACES * PLACE_BYTES;

const RECORD_KNOWN: u32 = 1;
/** Execution comes there; and the instruction is compiled. */
const FOUND: u32 = 2;
const STEP: u32 = 4;
const LEADER: u32 = 8;
const ENTRY: u32 = 16;
const RETURN: u32 = 32;
/** Belongs to a function that belongs to its callers' regions. */
const CONTAINED: u32 = 64;
const PRESENT: u32 = 128;
const NEIGHBOUR: u32 = 256;

// Lists of places, and of pages
const LIST_BYTES: u32 = 0x2000;
const QUEUE: u32 = L.COMPILE_LISTS;
const LEADERS: u32 = QUEUE + LIST_BYTES;
const ENTRIES: u32 = LEADERS + LIST_BYTES;
const RETURNS: u32 = ENTRIES + LIST_BYTES;
const NEIGHBOURS: u32 = RETURNS + LIST_BYTES;
const LEAF: u32 = NEIGHBOURS + LIST_BYTES;
const REACHED: u32 = LEAF + LIST_BYTES;
const MOST_LISTED: u32 = LIST_BYTES / 4;
const PAGES: u32 = REACHED + LIST_BYTES; // MOST_PAGES of PAGE_WORDS

let stamp: u32 = 0;
let placeCount: u32 = 0;
let base: u64 = 0;
let warm: u32 = 0;
let queued: u32 = 0;
let leaders: u32 = 0;
let entryCount: u32 = 0;
let returnCount: u32 = 0;
let pageCount: u32 = 0;
let steps: u32 = 0;
/** Shape whose template is not known: its handler, and from bit 16 on the immediate's low byte. */
let unknown: u32 = 0;

function placeOf(at: i64): u32 {
  if (at != <i64>(<i32>at)) return NOWHERE;
  for (let n: u32 = (<u32>at * 0x9e3779b1) >>> 21; ; n = (n + 1) & (PLACES - 1)) {
    const place = TABLE + n * PLACE_BYTES;
    if (load<u32>(place, P_STAMP) == stamp) {
      if (load<i32>(place) == <i32>at) return place;
      continue;
    }
    if (placeCount == MOST_PLACES) return NOWHERE;
    placeCount++;
    store<i32>(place, <i32>at);
    store<u32>(place, stamp, P_STAMP);
    store<u32>(place, 0, P_BITS);
    return place;
  }
}

// @ts-ignore: decorator
@inline
function atOf(place: u32): i32 {
  return load<i32>(place);
}

// @ts-ignore: decorator
@inline
function has(place: u32, bits: u32): bool {
  return (load<u32>(place, P_BITS) & bits) != 0;
}

/** Marks a place; answers whether it was not marked yet. */
function mark(place: u32, bits: u32): bool {
  const before = load<u32>(place, P_BITS);
  if (before & bits || place == NOWHERE) return false;
  store<u32>(place, before | bits, P_BITS);
  return true;
}

function pageOf(at: i64): i64 {
  return at & ~0xfff;
}

/** The page at an offset, if the code TLB has it now; else 0. */
function pageAt(delta: i64): u32 {
  for (let n: u32 = 0; n < pageCount; n++) {
    const page = PAGES + n * (C.PAGE_WORDS * 4);
    if (<i64>load<i32>(page, C.PAGE_DELTA) == delta) return load<u32>(page, C.PAGE_CODE) ? page : 0;
  }
  if (pageCount == MOST_PAGES) return 0;
  const page = PAGES + pageCount++ * (C.PAGE_WORDS * 4);
  store<i32>(page, <i32>delta, C.PAGE_DELTA);
  store<u32>(page, 0, C.PAGE_CODE);
  const va = base + delta;
  const entry = load<u32>(L.TLB_CODE) + ((<u32>(va >> 8) & 0xffff) & ((L.TLB_ENTRIES - 1) << 4));
  if (load<u64>(entry) != va) return 0;
  const code = load<u32>(entry, 8);
  if (load<u32>(code, L.CP_MODE) != 2) return 0;
  store<u32>(page, code, C.PAGE_CODE);
  store<u32>(page, load<u32>(code, L.CP_VERSION), C.PAGE_VERSION);
  store<u32>(page, load<u32>(code, L.CP_NUMBER), C.PAGE_NUMBER);
  return page;
}

/** Record of a place; 0 when there is none. */
function recordOf(place: u32): u32 {
  if (place == NOWHERE) return 0;
  if (mark(place, RECORD_KNOWN)) {
    const page = pageAt(pageOf(atOf(place)));
    store<u32>(place, page ? recordAt(load<u32>(page, C.PAGE_CODE), atOf(place) & 0xfff) : 0, P_RECORD);
  }
  return load<u32>(place, P_RECORD);
}

/** Whether another region begins at a place with a record, or is about to. */
function belongsElsewhere(place: u32, record: u32): bool {
  if (has(place, CONTAINED)) return false;
  return (load<u32>(record, L.R_NOTE) & L.NOTE_ENTRY) != 0 || (load<u8>(record, L.R_FLAGS) & L.REC_WAITING) != 0;
}

/** The decoded instruction that a record at the end of a page stands for, which ends on the next page; 0 when that is not known now. */
function crossing(record: u32, at: i32): u32 {
  const head = L.CROSSING + ((record >>> 5) & (L.CROSSINGS - 1)) * L.CROSSING_BYTES;
  if (load<u32>(head, L.X_RECORD) != record) return 0;
  const next = pageAt(pageOf(at) + 4096);
  if (!next) return 0;
  const known = load<u32>(next, C.PAGE_CODE) == load<u32>(head, L.X_PAGE) && load<u32>(next, C.PAGE_VERSION) == load<u32>(head, L.X_VERSION);
  return known ? head + L.RECORD_BYTES : 0;
}

/** Number of the handler that interprets a record. */
function handlerOf(record: u32): u32 {
  const handler: u32 = load<u16>(record);
  const note = load<u32>(record, L.R_NOTE);
  return note & L.NOTE_ENTRY && handler >= <u32>L.H_FIRST ? note & 0xffff : handler;
}

/** Template of a decoded instruction: SHAPE_NONE when it is none, SHAPE_INTERPRETED when it is not compiled. */
function templateOf(decoded: u32): u32 {
  const handler = handlerOf(decoded);
  if (handler >= <u32>L.COMPILE_SHAPE_COUNT) return C.SHAPE_NONE;
  const shape = load<u32>(L.COMPILE_SHAPES + (handler << 2));
  if (shape == C.SHAPE_UNKNOWN) {
    unknown = handler | (<u32>load<u8>(decoded, L.R_IMM) << 16);
    return C.SHAPE_NONE;
  }
  if (shape != C.SHAPE_BY_BYTE) return shape;
  const key = handler | (<u32>load<u8>(decoded, L.R_IMM) << 16);
  for (let n: u32 = 0; n < <u32>L.COMPILE_BYTE_SHAPE_COUNT; n++) {
    const at = L.COMPILE_BYTE_SHAPES + (n << 3);
    const known = load<u32>(at);
    if (known == key) return load<u32>(at, 4);
    if (!known) break;
  }
  unknown = key;
  return C.SHAPE_NONE;
}

function isCompiled(template: u32): bool {
  return template >= <u32>L.COMPILE_TEMPLATES;
}

// @ts-ignore: decorator
@inline
function endingOf(template: u32): u32 {
  return load<u32>(template, C.TEMPLATE_ENDING);
}

/** Whether enough jumps have come to a place. */
function isWarm(place: u32): bool {
  const record = recordOf(place);
  const note = record ? load<u32>(record, L.R_NOTE) : 0;
  return (note & L.NOTE_ENTRY) != 0 || (note & 0xffff) >= warm;
}

/** Where a relative jump at an offset leads. */
function targetOf(decoded: u32, at: i32): i64 {
  return pageOf(at) + load<i64>(decoded, L.R_IMM);
}

function enqueue(place: u32): void {
  if (queued < MOST_LISTED) store<u32>(QUEUE + (queued++ << 2), place);
}

function enter(place: u32): void {
  if (mark(place, ENTRY) && entryCount < MOST_LISTED) store<u32>(ENTRIES + (entryCount++ << 2), place);
  enqueue(place);
}

function lead(place: u32): void {
  if (mark(place, LEADER) && leaders < MOST_LISTED) store<u32>(LEADERS + (leaders++ << 2), place);
}

/**
 * Finds the region from a record on; its page is the current one.
 * @param warmth jumps that must have come to a place for it to be included
 * @returns words of the region; 0: its first instruction is not compiled; -1 less a shape (see `unknown`): whose template is wanted first
 */
export function findRegion(start: u32, warmth: u32): i32 {
  stamp++;
  placeCount = 0;
  store<u32>(NOWHERE, 0, P_BITS);
  base = load<u64>(L.PAGE_BASE);
  warm = warmth;
  queued = 0;
  leaders = 0;
  entryCount = 0;
  returnCount = 0;
  pageCount = 0;
  steps = 0;
  unknown = 0;
  const first = placeOf(load<u16>(start, L.R_OFFSET));
  enter(first);
  for (let n: u32 = 0; n < queued && leaders < MOST_BLOCKS && steps < MOST_STEPS && !unknown; n++) {
    const place = load<u32>(QUEUE + (n << 2));
    if (has(place, LEADER)) continue;
    const record = recordOf(place);
    if (!record || (place != first && belongsElsewhere(place, record))) continue;
    lead(place);
    follow(place);
  }
  if (unknown) return -1 - <i32>unknown;
  return has(first, STEP) ? layOut() : 0;
}

/** Goes along straight execution from a leader, and notes where it branches to. */
function follow(start: u32): void {
  const startPage = pageOf(atOf(start));
  let place = start;
  for (let count: u32 = 0; steps < MOST_STEPS; count++) {
    if (count == MOST_IN_BLOCK) {
      enqueue(place);
      return;
    }
    if (has(place, FOUND)) {
      if (place != start) lead(place);
      return;
    }
    const record = recordOf(place);
    if (!record || (place != start && belongsElsewhere(place, record))) return;
    let decoded = record;
    let template = templateOf(record);
    const whole = template != C.SHAPE_NONE;
    if (!whole && !unknown) {
      decoded = crossing(record, atOf(place));
      template = decoded ? templateOf(decoded) : C.SHAPE_NONE;
    }
    const at = atOf(place);
    if (!isCompiled(template)) {
      mark(place, FOUND);
      if (template == C.SHAPE_INTERPRETED) enter(placeOf(<i64>at + load<u8>(decoded, L.R_LENGTH)));
      return;
    }
    if (!whole && place != start) {
      // A block of its own, behind a guard: part of it may be mapped elsewhere later.
      enqueue(place);
      return;
    }
    mark(place, FOUND);
    mark(place, STEP);
    store<u32>(place, template, P_TEMPLATE);
    store<u32>(place, decoded, P_DECODED);
    steps++;
    const next = placeOf(<i64>at + load<u8>(decoded, L.R_LENGTH));
    switch (endingOf(template)) {
      case C.END_NEXT:
        if (next != NOWHERE && pageOf(atOf(next)) == startPage) {
          place = next;
          continue;
        }
        // Another page may be mapped elsewhere later: a block of its own, behind a guard.
        enqueue(next);
        return;
      case C.END_BRANCH: {
        const target = targetOf(decoded, at);
        const to = placeOf(target);
        if (target <= at || isWarm(to)) enqueue(to);
        if (load<u8>(decoded, L.R_PASSED)) enqueue(next);
        return;
      }
      case C.END_JUMP:
        enqueue(placeOf(targetOf(decoded, at)));
        return;
      case C.END_CALL: {
        // Another function is another region, but for recursion and for what is too small for the way there.
        const to = placeOf(targetOf(decoded, at));
        if (has(to, ENTRY) || isLeaf(to)) {
          if (mark(next, RETURN) && returnCount < MOST_LISTED) store<u32>(RETURNS + (returnCount++ << 2), next);
          enqueue(to);
          enter(next);
        } else if (isWarm(next)) enter(next);
        return;
      }
      case C.END_INDIRECT:
        if (load<u32>(template, C.TEMPLATE_BITS) & C.TEMPLATE_COMES_BACK && isWarm(next)) enter(next);
        return;
      default:
        return;
    }
  }
}

/** Whether a function calls nobody and is short: then callers contain it. */
function isLeaf(start: u32): bool {
  if (!isWarm(start)) return false;
  let waiting: u32 = 1;
  let reached: u32 = 0;
  let returns = false;
  store<u32>(LEAF, start);
  while (waiting) {
    const place = load<u32>(LEAF + (--waiting << 2));
    let known = false;
    for (let n: u32 = 0; n < reached; n++) if (load<u32>(REACHED + (n << 2)) == place) known = true;
    if (known) continue;
    if (reached == MOST_IN_LEAF) return false;
    const record = recordOf(place);
    const template = record ? templateOf(record) : C.SHAPE_NONE;
    if (!isCompiled(template)) return false;
    store<u32>(REACHED + (reached++ << 2), place);
    const at = atOf(place);
    const next = placeOf(<i64>at + load<u8>(record, L.R_LENGTH));
    // Each adds two at most.
    switch (endingOf(template)) {
      case C.END_NEXT:
        store<u32>(LEAF + (waiting++ << 2), next);
        continue;
      case C.END_BRANCH: {
        const target = targetOf(record, at);
        const to = placeOf(target);
        if (target <= at || isWarm(to)) store<u32>(LEAF + (waiting++ << 2), to);
        if (load<u8>(record, L.R_PASSED)) store<u32>(LEAF + (waiting++ << 2), next);
        continue;
      }
      case C.END_JUMP:
        store<u32>(LEAF + (waiting++ << 2), placeOf(targetOf(record, at)));
        continue;
      case C.END_RETURN:
        returns = true;
        continue;
      default:
        return false;
    }
  }
  if (!returns) return false;
  for (let n: u32 = 0; n < reached; n++) mark(load<u32>(REACHED + (n << 2)), CONTAINED);
  return true;
}

// Laying out

function word(at: u32, value: u32): u32 {
  store<u32>(at, value);
  return at + 4;
}

/** Writes a block's steps; answers where they end. */
function layOutSteps(block: u32, start: u32, to: u32): u32 {
  const startPage = pageOf(atOf(start));
  let ending: u32 = C.END_NEXT;
  let leaveAt: u32 = 0;
  let count: u32 = 0;
  let image: u32 = 0;
  if (has(start, STEP) && load<u32>(start, P_DECODED) != load<u32>(start, P_RECORD)) {
    // It crosses pages, and what is decoded of it may soon be something else.
    image = to;
    memory.copy(image, load<u32>(start, P_DECODED), L.RECORD_BYTES);
    to += L.RECORD_BYTES;
  }
  store<u32>(block, to, C.BLOCK_STEPS);
  for (let place = start; ; ) {
    if (!has(place, STEP)) {
      // Left to the interpreter, which is known to be here as long as this page is; or not in the region.
      if (has(place, FOUND) && pageOf(atOf(place)) == startPage) {
        ending = C.END_LEAVE;
        leaveAt = recordOf(place);
      }
      break;
    }
    if (count == MOST_IN_BLOCK || (place != start && (has(place, LEADER) || pageOf(atOf(place)) != startPage))) break;
    const template = load<u32>(place, P_TEMPLATE);
    to = word(to, load<u32>(place, P_RECORD));
    to = word(to, image ? image : load<u32>(place, P_DECODED));
    to = word(to, atOf(place));
    to = word(to, template);
    count++;
    ending = endingOf(template);
    if (ending != C.END_NEXT) break;
    place = placeOf(<i64>atOf(place) + load<u8>(load<u32>(place, P_DECODED), L.R_LENGTH));
  }
  store<u32>(block, count, C.BLOCK_COUNT);
  store<u32>(block, ending, C.BLOCK_ENDING);
  store<u32>(block, leaveAt, C.BLOCK_LEAVE_AT);
  return to;
}

function listOffsets(list: u32, count: u32, most: u32, to: u32): u32 {
  let listed: u32 = 0;
  for (let n: u32 = 0; n < count && listed < most; n++) {
    const place = load<u32>(list + (n << 2));
    if (!has(place, PRESENT)) continue;
    to = word(to, atOf(place));
    to = word(to, recordOf(place));
    listed++;
  }
  return to;
}

/** Notes a place outside, on the same page as what goes on to it. */
function noteNeighbour(at: i64, from: i32, count: u32): u32 {
  const place = placeOf(at);
  if (has(place, PRESENT) || place == NOWHERE || pageOf(at) != pageOf(from) || !mark(place, NEIGHBOUR)) return count;
  store<u32>(NEIGHBOURS + (count << 2), place);
  return count + 1;
}

function usePage(at: i32): void {
  const page = pageAt(pageOf(at));
  if (page) store<u32>(page, 1, C.PAGE_USED);
}

function layOut(): i32 {
  const input: u32 = L.COMPILE_INPUT;
  const blocks = input + C.IN_TABLES;
  // Blocks come first, but how many there are is known only when their steps are.
  let count: u32 = 0;
  for (let n: u32 = 0; n < leaders; n++) if (has(load<u32>(LEADERS + (n << 2)), STEP)) count++;
  let to = blocks + count * (C.BLOCK_WORDS * 4);
  let block = blocks;
  let total: u32 = 0;
  for (let n: u32 = 0; n < pageCount; n++) store<u32>(PAGES + n * (C.PAGE_WORDS * 4), 0, C.PAGE_USED);
  for (let n: u32 = 0; n < leaders; n++) {
    const place = load<u32>(LEADERS + (n << 2));
    if (!has(place, STEP)) continue;
    mark(place, PRESENT);
    store<i32>(block, atOf(place), C.BLOCK_AT);
    store<u32>(block, load<u32>(place, P_RECORD), C.BLOCK_RECORD);
    to = layOutSteps(block, place, to);
    total += load<u32>(block, C.BLOCK_COUNT);
    usePage(atOf(place));
    usePage(lastByteOf(block));
    block += C.BLOCK_WORDS * 4;
  }
  store<u32>(input, count, C.IN_BLOCKS);
  store<u32>(input, total, C.IN_STEPS);
  store<u32>(input, to, C.IN_PAGES_AT);
  let used: u32 = 0;
  for (let n: u32 = 0; n < pageCount; n++) {
    const page = PAGES + n * (C.PAGE_WORDS * 4);
    if (!load<u32>(page, C.PAGE_USED)) continue;
    memory.copy(to, page, C.PAGE_WORDS * 4);
    to += C.PAGE_WORDS * 4;
    used++;
  }
  store<u32>(input, used, C.IN_PAGES);
  store<u32>(input, to, C.IN_ENTRIES_AT);
  const entries = to;
  to = listOffsets(ENTRIES, entryCount, C.MOST_ENTRIES, to);
  store<u32>(input, (to - entries) >>> 3, C.IN_ENTRIES);
  store<u32>(input, to, C.IN_RETURNS_AT);
  const returns = to;
  to = listOffsets(RETURNS, returnCount, C.MOST_ENTRIES, to);
  store<u32>(input, (to - returns) >>> 3, C.IN_RETURNS);
  let neighbours: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    const each = blocks + n * (C.BLOCK_WORDS * 4);
    const last = load<u32>(each, C.BLOCK_STEPS) + (load<u32>(each, C.BLOCK_COUNT) - 1) * (C.STEP_WORDS * 4);
    const decoded = load<u32>(last, C.STEP_DECODED);
    const at = load<i32>(last, C.STEP_AT);
    const from = load<i32>(each, C.BLOCK_AT);
    const ending = load<u32>(each, C.BLOCK_ENDING);
    if (ending == C.END_BRANCH || ending == C.END_JUMP || ending == C.END_CALL) neighbours = noteNeighbour(targetOf(decoded, at), from, neighbours);
    if (ending == C.END_BRANCH || ending == C.END_NEXT) neighbours = noteNeighbour(<i64>at + load<u8>(decoded, L.R_LENGTH), from, neighbours);
  }
  store<u32>(input, neighbours, C.IN_NEIGHBOURS);
  store<u32>(input, to, C.IN_NEIGHBOURS_AT);
  for (let n: u32 = 0; n < neighbours; n++) {
    const place = load<u32>(NEIGHBOURS + (n << 2));
    to = word(to, atOf(place));
    to = word(to, recordOf(place));
  }
  return (to - input) >>> 2;
}

/** Offset of a block's last byte. One instruction that ends on the page after its own is a block by itself. */
export function lastByteOf(block: u32): i32 {
  const last = load<u32>(block, C.BLOCK_STEPS) + (load<u32>(block, C.BLOCK_COUNT) - 1) * (C.STEP_WORDS * 4);
  return load<i32>(last, C.STEP_AT) + load<u8>(load<u32>(last, C.STEP_DECODED), L.R_LENGTH) - 1;
}
