/** Builds what an instruction does, from its template: see codes.ts. */
import * as L from '../layout';
import * as C from './codes';
import { I32, I64, V128 } from './codes';
import { carry, changes, condition, cut, flagAux, flagResult, noteChange } from './flags';
import { indexOf } from './callees';
import * as ir from './ir';
import * as place from './place';
import { i32Of, i64Of, isKnown, valueOf } from './node';
import { I64_ADD, I64_AND, I64_NE, I64_OR, I64_SHL, I64_SHR_S, I64_SHR_U, V128_LOAD, V128_STORE } from './opcodes';

/** The first segment register with a base of its own in 64-bit code. */
const FS: u32 = 4;

/** Slots of templates that are being built, a frame each. */
let slots: u32 = 0;
let slotsEnd: u32 = 0;

// The present step
let record: u32 = 0;
let decoded: u32 = 0;
let stepAt: i32 = 0;

/** How the instruction ends: T_GO, T_BRANCH, T_JUMP or 0, and the condition or the linear address of it. */
export let ending: u32 = 0;
export let endingValue: u32 = 0;

export function begin(): void {
  slotsEnd = L.COMPILE_SLOTS;
}

/** What of the slots to go back to, when what a step ends by has been built. */
export function frame(): u32 {
  return slotsEnd;
}

export function dropFrame(to: u32): void {
  slotsEnd = to;
}

/** Builds a step (STEP_*), up to how it ends. False when there is no room. */
export function expand(step: u32): bool {
  const template = load<u32>(step, C.STEP_TEMPLATE);
  record = load<u32>(step, C.STEP_RECORD);
  decoded = load<u32>(step, C.STEP_DECODED);
  stepAt = load<i32>(step, C.STEP_AT);
  slots = slotsEnd;
  slotsEnd += load<u32>(template, C.TEMPLATE_SLOTS) << 2;
  ending = 0;
  place.beginStep();
  const words = load<u32>(template, C.TEMPLATE_WORDS);
  // A word makes a node or three.
  if (slotsEnd > <u32>L.COMPILE_SLOTS_END || !ir.hasRoomFor((words + 64) * 256)) return false;
  run(template + C.TEMPLATE_CODE, template + C.TEMPLATE_CODE + (words << 2));
  return true;
}

// @ts-ignore: decorator
@inline
function word(at: u32, n: u32): u32 {
  return load<u32>(at + (n << 2));
}

// @ts-ignore: decorator
@inline
function value(at: u32, n: u32): u32 {
  return load<u32>(slots + (load<u32>(at + (n << 2)) << 2));
}

// @ts-ignore: decorator
@inline
function define(at: u32, node: u32): void {
  store<u32>(slots + (load<u32>(at + 4) << 2), node);
}

function field(which: u32): u32 {
  switch (which) {
    case C.FIELD_REG: return load<u16>(decoded, L.R_REG);
    case C.FIELD_RM: return load<u16>(decoded, L.R_RM);
    case C.FIELD_THIRD: return load<u16>(decoded, L.R_VVVV);
    case C.FIELD_IMMEDIATE: return load<u32>(decoded, L.R_IMM);
    default: return L.YMM;
  } // prettier-ignore
}

// Registers, by address in the state: a general register's number, and the bit that it begins at

function read(address: u32, bits: u32): u32 {
  const whole = place.readGpr((address - L.GPR) >> 3);
  return cut(ir.op2(I64, I64_SHR_U, whole, i64Of(((address - L.GPR) & 7) << 3)), bits);
}

function write(address: u32, bits: u32, node: u32): void {
  const number = (address - L.GPR) >> 3;
  if (bits >= 32) {
    place.writeGpr(number, cut(node, bits));
    return;
  }
  const shift = ((address - L.GPR) & 7) << 3;
  const mask: i64 = (1 << <i64>bits) - 1;
  const rest = ir.op2(I64, I64_AND, place.readGpr(number), i64Of(~(mask << <i64>shift)));
  const shifted = ir.op2(I64, I64_SHL, ir.op2(I64, I64_AND, node, i64Of(mask)), i64Of(shift));
  place.writeGpr(number, ir.op2(I64, I64_OR, rest, shifted));
}

// Addresses

function addressPart(address: u32): u32 {
  if (address == L.ZERO) return i64Of(0);
  if (address == L.PAGE_BASE) return place.linear(stepAt - (stepAt & 0xfff));
  return place.readGpr((address - L.GPR) >> 3);
}

function cutAddress(node: u32): u32 {
  return load<u8>(decoded, L.R_FLAGS) & L.REC_ADDRESS_32 ? cut(node, 32) : node;
}

function effectiveAddress(): u32 {
  const flags: u32 = load<u8>(decoded, L.R_FLAGS);
  if (flags & L.REC_ABSOLUTE) return i64Of(load<i64>(decoded, L.R_IMM));
  const rm: u32 = load<u16>(decoded, L.R_RM);
  const index: u32 = load<u16>(decoded, L.R_INDEX);
  let sum = addressPart(rm);
  if (index != L.ZERO) {
    const scaled = ir.op2(I64, I64_SHL, addressPart(index), i64Of(load<u8>(decoded, L.R_SCALE)));
    sum = rm == L.ZERO ? scaled : ir.op2(I64, I64_ADD, sum, scaled);
  }
  const far = flags & L.REC_FAR_DISPLACEMENT;
  const displacement: i64 = far ? <i64>load<u32>(decoded, L.R_DISP) : <i64>load<i32>(decoded, L.R_DISP);
  return cutAddress(ir.op2(I64, I64_ADD, sum, i64Of(displacement)));
}

function segmented(offset: u32): u32 {
  const segment: u32 = load<u8>(decoded, L.R_SEGMENT);
  if (segment < FS) return offset;
  // The offset must be canonical by itself, too.
  const top = ir.op2(I64, I64_SHR_S, ir.op2(I64, I64_SHL, offset, i64Of(16)), i64Of(16));
  place.leaveIf(record, ir.op2(I32, I64_NE, top, offset));
  return ir.op2(I64, I64_ADD, place.load64(L.SEG_BASE + (segment << 3)), offset);
}

// Vector registers

/** Whether a register's address in the state is that of a YMM register, not of an MMX one. */
function isYmm(address: u32): bool {
  return address >= <u32>L.YMM;
}

function vectorAddress(which: u32, halves: u32): u32 {
  const address = field(which);
  if (isYmm(address)) for (let half: u32 = 0; half < halves; half++) place.showVector(address + (half << 4));
  return i32Of(address);
}

// @ts-ignore: decorator
@inline
function registersAlike(): bool {
  const reg = load<u16>(decoded, L.R_REG);
  const index = load<u16>(decoded, L.R_INDEX);
  const third = load<u16>(decoded, L.R_VVVV);
  return reg == index || reg == third || index == third;
}

/** `if` whose arms may set the flags. When either does, both leave them in the variables. */
function choose(test: u32, label: u32, then: u32, middle: u32, end: u32): void {
  if (isKnown(test)) {
    if (valueOf(test)) {
      const block = ir.openBlock();
      store<u32>(slots + (label << 2), block);
      run(then, middle);
      ir.close(block);
    } else run(middle, end);
    return;
  }
  const flags = place.keep();
  let before = changes;
  const control = ir.openIf(test);
  store<u32>(slots + (label << 2), control);
  run(then, middle);
  let changed = changes != before;
  if (changed) place.storeFlags();
  const after = place.keep();
  ir.otherwise(control);
  place.recall(flags);
  before = changes;
  run(middle, end);
  if (changed || changes != before) {
    place.storeFlags();
    changed = true;
  } else place.recall(after);
  ir.close(control);
  if (changed) place.forget();
  else place.recall(flags);
}

function run(at: u32, end: u32): void {
  while (at < end) {
    switch (word(at, 0)) {
      case C.T_I32:
        define(at, i32Of(word(at, 2)));
        at += 12;
        break;
      case C.T_I64:
        define(at, i64Of(<i64>word(at, 2) | (<i64>word(at, 3) << 32)));
        at += 16;
        break;
      case C.T_BYTES:
        define(at, ir.bytesOf(word(at, 2), word(at, 3), at + 20, word(at, 4)));
        at += 20 + ((word(at, 4) + 3) & ~3);
        break;
      case C.T_OP1:
        define(at, ir.op1(word(at, 2), word(at, 3), value(at, 4)));
        at += 20;
        break;
      case C.T_OP2:
        define(at, ir.op2(word(at, 2), word(at, 3), value(at, 4), value(at, 5)));
        at += 24;
        break;
      case C.T_OP3:
        define(at, ir.op3(word(at, 2), word(at, 3), value(at, 4), value(at, 5), value(at, 6)));
        at += 28;
        break;
      case C.T_LANES: {
        const lanes = word(at, 4);
        const count = word(at, 5);
        const bytes = at + 24 + (count << 2);
        const node = ir.lanesOf(word(at, 2), word(at, 3), count, bytes, lanes);
        for (let n: u32 = 0; n < count; n++) ir.give(node, n, value(at, 6 + n));
        define(at, ir.done(node));
        at = bytes + ((lanes + 3) & ~3);
        break;
      }
      case C.T_LOAD:
        define(at, ir.loadOf(word(at, 2), word(at, 3), value(at, 4), word(at, 5)));
        at += 24;
        break;
      case C.T_STORE:
        ir.storeOf(word(at, 1), value(at, 2), value(at, 3), word(at, 4));
        at += 20;
        break;
      case C.T_CALL: {
        const count = word(at, 4);
        const node = ir.callOf(word(at, 2), indexOf(word(at, 3)), count);
        for (let n: u32 = 0; n < count; n++) ir.give(node, n, value(at, 5 + n));
        ir.done(node);
        if (<i32>word(at, 1) >= 0) define(at, node);
        at += 20 + (count << 2);
        break;
      }
      case C.T_VAR:
        define(at, ir.variable(word(at, 2)));
        at += 12;
        break;
      case C.T_GET:
        define(at, ir.get(word(at, 2), value(at, 3)));
        at += 16;
        break;
      case C.T_SET:
        ir.set(value(at, 1), value(at, 2));
        at += 12;
        break;
      case C.T_IF: {
        const then = at + 20;
        const middle = then + (word(at, 3) << 2);
        const otherwise = <i32>word(at, 4);
        const control = ir.openIf(value(at, 1));
        store<u32>(slots + (word(at, 2) << 2), control);
        run(then, middle);
        at = middle;
        if (otherwise >= 0) {
          ir.otherwise(control);
          at += otherwise << 2;
          run(middle, at);
        }
        ir.close(control);
        break;
      }
      case C.T_CHOOSE: {
        const then = at + 20;
        const middle = then + (word(at, 3) << 2);
        const last = middle + (max<i32>(word(at, 4), 0) << 2);
        choose(value(at, 1), word(at, 2), then, middle, last);
        at = last;
        break;
      }
      case C.T_BLOCK:
      case C.T_LOOP: {
        const last = at + 12 + (word(at, 2) << 2);
        const control = word(at, 0) == C.T_LOOP ? ir.openLoop() : ir.openBlock();
        define(at, control);
        run(at + 12, last);
        ir.close(control);
        at = last;
        break;
      }
      case C.T_BR:
        ir.br(value(at, 1));
        at += 8;
        break;
      case C.T_BR_IF:
        ir.brIf(value(at, 1), value(at, 2));
        at += 12;
        break;
      case C.T_READ_REGISTER:
        define(at, read(field(word(at, 2)), word(at, 3)));
        at += 16;
        break;
      case C.T_WRITE_REGISTER:
        write(field(word(at, 1)), word(at, 2), value(at, 3));
        at += 16;
        break;
      case C.T_READ_GPR:
        define(at, read(L.GPR + (word(at, 2) << 3), word(at, 3)));
        at += 16;
        break;
      case C.T_WRITE_GPR:
        write(L.GPR + (word(at, 1) << 3), word(at, 2), value(at, 3));
        at += 16;
        break;
      case C.T_VECTOR_ADDRESS:
        define(at, vectorAddress(word(at, 2), word(at, 3)));
        at += 16;
        break;
      case C.T_READ_VECTOR: {
        const address = field(word(at, 2));
        const half = word(at, 3) << 4;
        define(at, isYmm(address) ? place.readVector(address + half) : ir.loadOf(V128, V128_LOAD, i32Of(address), half));
        at += 16;
        break;
      }
      case C.T_WRITE_VECTOR: {
        const address = field(word(at, 1));
        const half = word(at, 2) << 4;
        if (isYmm(address)) place.writeVector(address + half, value(at, 3));
        else ir.storeOf(V128_STORE, i32Of(address), value(at, 3), half);
        at += 16;
        break;
      }
      case C.T_WRITE_YMM:
        place.writeVector(word(at, 1), value(at, 2));
        at += 12;
        break;
      case C.T_REGISTER_NUMBER:
        define(at, i32Of(field(word(at, 2))));
        at += 12;
        break;
      case C.T_SAME_VECTORS:
        define(at, i32Of(registersAlike() ? 1 : 0));
        at += 8;
        break;
      case C.T_IMMEDIATE:
        define(at, i64Of(load<i64>(decoded, L.R_IMM)));
        at += 8;
        break;
      case C.T_EFFECTIVE:
        define(at, effectiveAddress());
        at += 8;
        break;
      case C.T_SEGMENTED:
        define(at, segmented(value(at, 2)));
        at += 12;
        break;
      case C.T_CUT_ADDRESS:
        define(at, cutAddress(value(at, 2)));
        at += 12;
        break;
      case C.T_ADDRESS_MASK:
        define(at, i64Of(load<u8>(decoded, L.R_FLAGS) & L.REC_ADDRESS_32 ? 0xffffffff : -1));
        at += 8;
        break;
      case C.T_WRITE_ADDRESS_SIZED:
        write(L.GPR + (word(at, 1) << 3), load<u8>(decoded, L.R_FLAGS) & L.REC_ADDRESS_32 ? 32 : 64, value(at, 2));
        at += 12;
        break;
      case C.T_RECORD:
        define(at, i32Of(record));
        at += 8;
        break;
      case C.T_SEGMENT_NUMBER:
        define(at, i32Of(load<u8>(decoded, L.R_SEGMENT)));
        at += 8;
        break;
      case C.T_NEXT_ADDRESS:
        define(at, place.linear(stepAt + load<u8>(decoded, L.R_LENGTH)));
        at += 8;
        break;
      case C.T_THIS_ADDRESS:
        define(at, place.linear(stepAt));
        at += 8;
        break;
      case C.T_BRANCH_TARGET:
        define(at, place.linear(targetOf()));
        at += 8;
        break;
      case C.T_POSITION:
        define(at, place.position());
        at += 8;
        break;
      case C.T_TLB:
        define(at, place.tlb(word(at, 2) != 0));
        at += 12;
        break;
      case C.T_TLB_CHANGED:
        place.tlbChanged();
        at += 4;
        break;
      case C.T_LEAVE:
        place.leaveBefore(record, place.before);
        at += 4;
        break;
      case C.T_LEAVE_IF:
        place.leaveIf(record, value(at, 1));
        at += 8;
        break;
      case C.T_FLAGS:
        noteChange();
        place.setFlags(word(at, 1), value(at, 2), <i32>word(at, 3) >= 0 ? value(at, 3) : 0);
        at += 16;
        break;
      case C.T_CARRY_IS:
        place.setCarry(value(at, 1));
        at += 8;
        break;
      case C.T_FLAG_RESULT:
        define(at, flagResult());
        at += 8;
        break;
      case C.T_FLAG_AUX:
        define(at, flagAux());
        at += 8;
        break;
      case C.T_CARRY:
        define(at, carry());
        at += 8;
        break;
      case C.T_CONDITION:
        define(at, condition(word(at, 2)));
        at += 12;
        break;
      default: // T_GO, T_BRANCH, T_JUMP: the last
        ending = word(at, 0);
        endingValue = ending == C.T_GO ? 0 : value(at, 1);
        return;
    }
  }
}

/** Offset of the relative target from the region's first page. */
export function targetOf(): i64 {
  return <i64>(stepAt - (stepAt & 0xfff)) + load<i64>(decoded, L.R_IMM);
}

export function nextOf(): i64 {
  return stepAt + load<u8>(decoded, L.R_LENGTH);
}
