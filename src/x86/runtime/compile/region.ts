/**
 * Builds the WebAssembly function of a region that compiler/emit.ts has laid out at COMPILE_INPUT: IN_* and what follows in codes.ts. Its parameter is the
 * record that it begins at, as a handler's.
 */
import * as L from '../layout';
import * as C from './codes';
import { I32, I64 } from './codes';
import * as expand from './expand';
import * as ir from './ir';
import * as place from './place';
import { finish } from './write';
import { LEAVE_AT, LEAVE_HERE, LEAVE_TO, LEAVE_UNBEGUN } from './callees';
import { lastByteOf } from './find';
import { narrow } from './flags';
import * as flow from './flow';
import { i32Of, i64Of } from './node';
import {
  EXTEND_U, I32_ADD, I32_AND, I32_EQ, I32_EQZ, I32_GT_S, I32_LOAD, I32_LT_S, I32_OR, I32_SHR_U, I32_SUB, I64_ADD, I64_EQ, I64_LOAD,
  I64_SHR_U, I64_SUB,
} from './opcodes';

/** Return addresses that a RET compares with, before it leaves the region. */
const MOST_RETURNS: u32 = 6;
/** Of an exit's target: go on with whatever begins there, compiled or not. */
const LAND: u32 = 0x80000000;

// Where the tables of the region begin, and how long they are
let blocks: u32 = 0;
let blockCount: u32 = 0;
let pages: u32 = 0;
let entries: u32 = 0;
let entryCount: u32 = 0;
let returns: u32 = 0;
let returnCount: u32 = 0;
let neighbours: u32 = 0;
let neighbourCount: u32 = 0;
let dispatcher: u32 = 0;
/** Constructs by node: that it follows, and its loop. */
const LABELS: u32 = L.COMPILE_STATE + 0x400; // 256 * u32
const LOOPS: u32 = L.COMPILE_STATE + 0x800; // 256 * u32

// What is being built
let node: u32 = 0;
let failed: bool = false;

function blockOf(node: u32): u32 {
  return blocks + (node - 1) * (C.BLOCK_WORDS * 4);
}

/** Node of the block at an offset; 0 when there is none. */
function nodeAt(at: i64): u32 {
  for (let n: u32 = 0; n < blockCount; n++) if (<i64>load<i32>(blocks + n * (C.BLOCK_WORDS * 4), C.BLOCK_AT) == at) return n + 1;
  return 0;
}

function stepOf(block: u32, n: u32): u32 {
  return load<u32>(block, C.BLOCK_STEPS) + n * (C.STEP_WORDS * 4);
}

function lastStep(block: u32): u32 {
  return stepOf(block, load<u32>(block, C.BLOCK_COUNT) - 1);
}

function stepAt(step: u32): i32 {
  return load<i32>(step, C.STEP_AT);
}

/** Builds the function. @returns as `finish`; 0 when there was no room */
export function emitRegion(): u32 {
  const input: u32 = L.COMPILE_INPUT;
  blocks = input + C.IN_TABLES;
  blockCount = load<u32>(input, C.IN_BLOCKS);
  pages = load<u32>(input, C.IN_PAGES_AT);
  entries = load<u32>(input, C.IN_ENTRIES_AT);
  entryCount = load<u32>(input, C.IN_ENTRIES);
  returns = load<u32>(input, C.IN_RETURNS_AT);
  returnCount = load<u32>(input, C.IN_RETURNS);
  neighbours = load<u32>(input, C.IN_NEIGHBOURS_AT);
  neighbourCount = load<u32>(input, C.IN_NEIGHBOURS);
  findFlow();
  let units: u32 = 0;
  let wide: u32 = 0;
  for (let n: u32 = 0; n < blockCount; n++) {
    const block = blockOf(n + 1);
    const count = load<u32>(block, C.BLOCK_COUNT);
    for (let k: u32 = 0; k < count; k++) {
      const step = stepOf(block, k);
      const template = load<u32>(step, C.STEP_TEMPLATE);
      units |= load<u32>(template, C.TEMPLATE_UNIT);
      if (load<u32>(template, C.TEMPLATE_BITS) & C.TEMPLATE_VEX) wide |= vectorsOf(load<u32>(step, C.STEP_DECODED));
    }
  }
  failed = false;
  ir.begin();
  place.begin(flow.loops, wide);
  expand.begin();
  const exit = ir.openBlock();
  place.setExit(exit);
  // V8's fast compiler has everything in memory where a loop begins.
  if (flow.irreducible) {
    dispatcher = ir.openLoop();
    tree(0);
    ir.close(dispatcher);
  } else tree(0);
  ir.close(exit);
  if (failed) return 0;
  flush();
  const target = ir.get(I32, place.target);
  const forever = ir.openIf(ir.op1(I32, I32_EQZ, target));
  const to = ir.get(I32, place.at);
  ir.returnCall(LEAVE_TO, to, ir.get(I64, place.address));
  ir.close(forever);
  const land = ir.openIf(ir.op2(I32, I32_LT_S, target, i32Of(0)));
  const here = ir.get(I32, place.at);
  ir.returnCall(LEAVE_HERE, here, ir.op1(I64, EXTEND_U, ir.op2(I32, I32_AND, target, i32Of(~LAND))));
  ir.close(land);
  const there = ir.get(I32, place.at);
  ir.returnCall(LEAVE_AT, there, ir.op1(I64, EXTEND_U, target));
  ir.atStart();
  prologue(load<u32>(input, C.IN_STEPS), units);
  return finish();
}

/** Finds the region's control flow, and at whose flags somebody looks. */
function findFlow(): void {
  flow.begin(blockCount + 1);
  for (let n: u32 = 0; n < entryCount; n++) flow.addEntry(nodeAt(load<i32>(entries + (n << 3))));
  for (let node: u32 = 1; node <= blockCount; node++) {
    const block = blockOf(node);
    const ending = load<u32>(block, C.BLOCK_ENDING);
    const last = lastStep(block);
    const decoded = load<u32>(last, C.STEP_DECODED);
    const at = <i64>stepAt(last);
    // Whether some way out of the region leads from here directly: then the flags count.
    let leaves = ending == C.END_LEAVE || ending == C.END_INDIRECT || ending == C.END_RETURN;
    if (ending == C.END_BRANCH || ending == C.END_JUMP || ending == C.END_CALL) {
      if (addEdge(node, block, (at & ~0xfff) + load<i64>(decoded, L.R_IMM))) leaves = true;
    }
    if (ending == C.END_BRANCH || ending == C.END_NEXT) {
      if (addEdge(node, block, at + load<u8>(decoded, L.R_LENGTH))) leaves = true;
    }
    if (ending == C.END_RETURN) {
      for (let n: u32 = 0; n < min<u32>(returnCount, MOST_RETURNS); n++) addEdge(node, block, load<i32>(returns + (n << 3)));
    }
    const looks = looksFirst(block);
    flow.setFlags(node, looks < 0 ? leaves : looks != 0, looks >= 0);
  }
  flow.analyse();
  flow.findLiveFlags();
}

/** Answers whether going there leaves the region, or needs a guard that may. */
function addEdge(node: u32, block: u32, at: i64): bool {
  const to = nodeAt(at);
  if (to) flow.addEdge(node, to);
  return !to || crossesPage(block, at);
}

/** Whether the first step of a block that has to do with flags looks at them; -1 when none has. */
function looksFirst(block: u32): i32 {
  const count = load<u32>(block, C.BLOCK_COUNT);
  for (let n: u32 = 0; n < count; n++) {
    const bits = load<u32>(load<u32>(stepOf(block, n), C.STEP_TEMPLATE), C.TEMPLATE_BITS);
    if (bits & (C.TEMPLATE_LOOKS | C.TEMPLATE_SETS)) return bits & C.TEMPLATE_LOOKS ? 1 : 0;
  }
  return -1;
}

/** YMM registers, as bits, among an instruction's operands. */
function vectorsOf(decoded: u32): u32 {
  return (
    vectorBit(load<u16>(decoded, L.R_REG)) |
    vectorBit(load<u16>(decoded, L.R_RM)) |
    vectorBit(load<u16>(decoded, L.R_VVVV)) |
    vectorBit(load<u64>(decoded, L.R_IMM))
  );
}

function vectorBit(address: u64): u32 {
  const offset = address - <u64>L.YMM;
  return offset < 512 && !(offset & 31) ? 1 << <u32>(offset >> 5) : 0;
}

function prologue(steps: u32, units: u32): void {
  const record = ir.parameter;
  // The budget's last instruction is the interpreter's: STI must know that it is.
  const most: u32 = max<u32>(steps + 1, L.RUN_LIMIT) * L.RECORD_BYTES;
  const deadline = place.load32(L.DEADLINE);
  let refused = ir.op2(I32, I32_LT_S, ir.op2(I32, I32_SUB, deadline, record), i32Of(most));
  if (units) refused = ir.op2(I32, I32_OR, refused, ir.op2(I32, I32_AND, place.load32(L.FPU_TRAP), i32Of(units)));
  const unbegun = ir.openIf(refused);
  ir.returnCall(LEAVE_UNBEGUN, record, i64Of(0));
  ir.close(unbegun);
  ir.set(place.at, record);
  ir.set(place.limit, ir.op2(I32, I32_SUB, deadline, i32Of(most)));
  ir.set(place.base, place.load64(L.PAGE_BASE));
  if (entryCount > 1) {
    const note = ir.loadOf(I32, I32_LOAD, record, L.R_NOTE);
    ir.set(place.entry, ir.op2(I32, I32_AND, ir.op2(I32, I32_SHR_U, note, i32Of(16)), i32Of(0xff)));
  }
  for (let n: u32 = 0; n < entryCount; n++) {
    const delta = load<i32>(entries + (n << 3)) & ~0xfff;
    if (!delta) continue;
    const elsewhere = ir.openIf(ir.op2(I32, I32_EQ, ir.get(I32, place.entry), i32Of(n)));
    ir.set(place.base, ir.op2(I64, I64_SUB, ir.get(I64, place.base), i64Of(delta)));
    ir.close(elsewhere);
  }
  place.loadRegisters();
  for (let n: u32 = 0; n < flow.targetCount; n++) {
    if (!flow.isFlagsLive(flow.targetAt(n))) continue;
    place.receiveFlags();
    break;
  }
  place.loadTlbs();
}

function flush(): void {
  const executed = ir.op1(I64, EXTEND_U, ir.op2(I32, I32_SUB, ir.get(I32, place.at), ir.parameter));
  place.store64(L.COUNT_COMPILED, ir.op2(I64, I64_ADD, place.load64(L.COUNT_COMPILED), executed));
  place.storeRegisters();
  place.passFlags();
}

// Structure

function tree(node: u32): void {
  if (!node || !flow.isLoop(node)) {
    within(node, flow.NONE);
    return;
  }
  const loop = ir.openLoop();
  store<u32>(LOOPS + (node << 2), loop);
  within(node, flow.NONE);
  ir.close(loop);
}

/** The node, then the merging nodes that it dominates, each behind the block that jumps to it leave. @param position of the last that is done */
function within(node: u32, position: u32): void {
  if (failed) return;
  const next = flow.mergeBefore(node, position);
  if (!next) {
    contents(node);
    return;
  }
  const block = ir.openBlock();
  store<u32>(LABELS + (next << 2), block);
  within(node, flow.positionOf(next));
  ir.close(block);
  place.forget();
  tree(next);
}

function contents(which: u32): void {
  if (!which) {
    const count = flow.targetCount;
    if (count == 1) {
      ir.br(load<u32>(LABELS + (flow.targetAt(0) << 2)));
      return;
    }
    const labels = ir.table(count);
    for (let n: u32 = 0; n < count; n++) store<u32>(labels + (n << 2), load<u32>(LABELS + (flow.targetAt(n) << 2)));
    ir.brTable(labels, count, ir.get(I32, place.entry));
    return;
  }
  if (flow.isLoop(which) || flow.isMerge(which)) {
    place.forget();
    place.setKnown(0);
  }
  node = which;
  const block = blockOf(which);
  const count = load<u32>(block, C.BLOCK_COUNT);
  place.setBefore(0);
  guardRest(block);
  for (let n: u32 = 0; n < count; n++) {
    const borrowed = ir.borrowed();
    const frame = expand.frame();
    if (!expand.expand(stepOf(block, n))) {
      failed = true;
      return;
    }
    switch (expand.ending) {
      case C.T_GO: {
        const to = expand.targetOf();
        countSteps(n + 1);
        go(to);
        break;
      }
      case C.T_BRANCH:
        branch(n + 1, expand.endingValue, expand.targetOf(), expand.nextOf());
        break;
      case C.T_JUMP:
        countSteps(n + 1);
        jump(block, expand.endingValue);
        break;
    }
    if (failed) return;
    expand.dropFrame(frame);
    ir.giveBack(borrowed);
    place.setBefore(n + 1);
  }
  const ending = load<u32>(block, C.BLOCK_ENDING);
  if (ending == C.END_NEXT) {
    const last = lastStep(block);
    countSteps(count);
    go(<i64>stepAt(last) + load<u8>(load<u32>(last, C.STEP_DECODED), L.R_LENGTH));
  } else if (ending == C.END_LEAVE) {
    countSteps(count);
    place.leaveBefore(load<u32>(block, C.BLOCK_LEAVE_AT), 0);
  }
}

/** Moves `at` over the block's instructions, so many. */
function countSteps(steps: u32): void {
  ir.set(place.at, ir.op2(I32, I32_ADD, ir.get(I32, place.at), i32Of(steps * L.RECORD_BYTES)));
}

// Ways on

/** Whether going on at an offset from a block leads to another page. */
function crossesPage(block: u32, at: i64): bool {
  return (at & ~0xfff) != (<i64>stepAt(lastStep(block)) & ~0xfff);
}

function neighbourAt(at: i64): u32 {
  for (let n: u32 = 0; n < neighbourCount; n++) if (<i64>load<i32>(neighbours + (n << 3)) == at) return load<u32>(neighbours + (n << 3), 4);
  return 0;
}

/** Before control merges with other ways. */
function keepFlags(to: u32): void {
  if (flow.isFlagsLive(to)) place.storeFlags();
}

/** To an offset; the block's instructions have been counted. */
function go(at: i64): void {
  const from = node;
  const to = nodeAt(at);
  const crosses = crossesPage(blockOf(from), at);
  if (!to) {
    const record = crosses ? 0 : neighbourAt(at);
    if (!record) {
      place.leaveForever(place.linear(at));
      return;
    }
    place.storeFlags();
    ir.set(place.target, i32Of(record | LAND));
    ir.br(place.exit);
    return;
  }
  if (crosses) guard(<i32>at);
  const backward = flow.positionOf(to) <= flow.positionOf(from);
  if (backward) {
    const over = ir.get(I32, place.at);
    const expired = ir.openIf(ir.op2(I32, I32_GT_S, over, ir.get(I32, place.limit)));
    place.leaveBefore(load<u32>(blockOf(to), C.BLOCK_RECORD), 0);
    ir.close(expired);
  }
  if (flow.isVia(from, to)) {
    keepFlags(to);
    ir.set(place.entry, i32Of(flow.entryNumberOf(to)));
    ir.br(dispatcher);
  } else if (backward) {
    keepFlags(to);
    ir.br(load<u32>(LOOPS + (to << 2)));
  } else if (flow.isMerge(to)) {
    keepFlags(to);
    ir.br(load<u32>(LABELS + (to << 2)));
  } else {
    if (flow.isLoop(to)) keepFlags(to);
    const flags = place.keep();
    const known = place.known;
    const before = place.before;
    tree(to);
    place.recall(flags);
    place.setKnown(known);
    node = from;
    place.setBefore(before);
  }
}

function branch(steps: u32, condition: u32, taken: i64, next: i64): void {
  // One edge, not two: what follows would be built twice, and so on from branch to branch.
  countSteps(steps);
  if (taken == next) {
    go(next);
    return;
  }
  const flags = place.keep();
  const test = ir.openIf(condition);
  go(taken);
  ir.close(test);
  if (failed) return;
  place.recall(flags);
  go(next);
}

function jump(block: u32, linear: u32): void {
  if (load<u32>(block, C.BLOCK_ENDING) == C.END_RETURN) {
    const flags = place.keep();
    for (let n: u32 = 0; n < min<u32>(returnCount, MOST_RETURNS); n++) {
      const at = load<i32>(returns + (n << 3));
      if (!nodeAt(at)) continue;
      const here = ir.openIf(ir.op2(I32, I64_EQ, linear, place.linear(at)));
      go(at);
      ir.close(here);
      if (failed) return;
      place.recall(flags);
    }
  }
  place.leaveForever(linear);
}

/** Another page: it must still be mapped to the code that was compiled. */
function guard(at: i32): void {
  const page = place.linear(at & ~0xfff);
  const gone = ir.openIf(ir.op1(I32, I32_EQZ, isAsCompiled(at & ~0xfff, page)));
  place.leaveForever(place.linear(at));
  ir.close(gone);
  place.store64(L.PAGE_BASE, page);
}

/** The same for what an instruction at a page's end has of itself on the next one. */
function guardRest(block: u32): void {
  const rest = lastByteOf(block) & ~0xfff;
  if (rest == (load<i32>(block, C.BLOCK_AT) & ~0xfff)) return;
  const flags = place.keep();
  const gone = ir.openIf(ir.op1(I32, I32_EQZ, isAsCompiled(rest, place.linear(rest))));
  place.leaveBefore(load<u32>(block, C.BLOCK_RECORD), 0);
  ir.close(gone);
  place.recall(flags);
}

/** Whether the page so far from the first one, at a linear address now, is mapped to the code that was compiled. */
function isAsCompiled(delta: i32, linear: u32): u32 {
  let page = pages;
  while (load<i32>(page, C.PAGE_DELTA) != delta) page += C.PAGE_WORDS * 4;
  const code = load<u32>(page, C.PAGE_CODE);
  const shifted = narrow(ir.op2(I64, I64_SHR_U, linear, i64Of(8)));
  const index = ir.op2(I32, I32_AND, shifted, i32Of((L.TLB_ENTRIES - 1) << 4));
  const entry = ir.op2(I32, I32_ADD, place.load32(L.TLB_CODE), index);
  const tagged = ir.op2(I32, I64_EQ, ir.loadOf(I64, I64_LOAD, entry, 0), linear);
  const mapped = ir.op2(I32, I32_AND, tagged, ir.op2(I32, I32_EQ, ir.loadOf(I32, I32_LOAD, entry, 8), i32Of(code)));
  const version = ir.loadOf(I32, I32_LOAD, i32Of(code), L.CP_VERSION);
  const same = ir.op2(I32, I32_EQ, version, i32Of(load<u32>(page, C.PAGE_VERSION)));
  return ir.op2(I32, I32_AND, mapped, same);
}
