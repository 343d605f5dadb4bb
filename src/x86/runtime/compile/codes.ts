/** Templates: what compiled instructions are made of, in words (i32). Written by compiler/template.ts, read by expand.ts. */

// Values: `dst` is a slot
export const T_I32 = 1; // dst value
export const T_I64 = 2; // dst low high
export const T_BYTES = 3; // dst type code count, then so many words
export const T_OP1 = 4; // dst type code a
export const T_OP2 = 5; // dst type code a b
export const T_OP3 = 6; // dst type code a b c
export const T_LANES = 7; // dst type code lanes arguments, then arguments, then words of lanes
export const T_LOAD = 8; // dst type code address offset
export const T_STORE = 9; // code address value offset
export const T_CALL = 10; // dst (-1: none) type (0: none) callee arguments, then these
export const T_VAR = 11; // variable type
export const T_GET = 12; // dst type variable
export const T_SET = 13; // variable value
// Control: lengths in words
export const T_IF = 14; // condition label then otherwise (-1: none)
export const T_CHOOSE = 15; // the same; its arms may set the flags
export const T_BLOCK = 16; // label length
export const T_LOOP = 17; // label length
export const T_BR = 18; // label
export const T_BR_IF = 19; // label condition
// What depends on the decoded instruction. `which` is a FIELD_*
export const T_READ_REGISTER = 20; // dst which bits
export const T_WRITE_REGISTER = 21; // which bits value
export const T_READ_GPR = 22; // dst number bits
export const T_WRITE_GPR = 23; // number bits value
export const T_VECTOR_ADDRESS = 24; // dst which halves
export const T_READ_VECTOR = 25; // dst which half
export const T_WRITE_VECTOR = 26; // which half value
export const T_WRITE_YMM = 27; // address value
export const T_REGISTER_NUMBER = 28; // dst which
export const T_SAME_VECTORS = 29; // dst
export const T_IMMEDIATE = 30; // dst
export const T_EFFECTIVE = 31; // dst
export const T_SEGMENTED = 32; // dst offset
export const T_CUT_ADDRESS = 33; // dst value
export const T_ADDRESS_MASK = 34; // dst
export const T_WRITE_ADDRESS_SIZED = 35; // number value
export const T_RECORD = 36; // dst
export const T_SEGMENT_NUMBER = 37; // dst
export const T_NEXT_ADDRESS = 38; // dst
export const T_THIS_ADDRESS = 39; // dst
export const T_BRANCH_TARGET = 40; // dst
// What depends on the region
export const T_POSITION = 41; // dst
export const T_TLB = 42; // dst write
export const T_TLB_CHANGED = 43;
export const T_LEAVE = 44;
export const T_LEAVE_IF = 45; // condition
export const T_GO = 46;
export const T_BRANCH = 47; // condition
export const T_JUMP = 48; // linear
// Flags
export const T_FLAGS = 49; // kind a b (-1: none)
export const T_CARRY_IS = 50; // value
export const T_FLAG_RESULT = 51; // dst
export const T_FLAG_AUX = 52; // dst
export const T_CARRY = 53; // dst
export const T_CONDITION = 54; // dst number

export const FIELD_REG = 0;
export const FIELD_RM = 1;
export const FIELD_THIRD = 2;
export const FIELD_IMMEDIATE = 3;
export const FIELD_XMM0 = 4;

// A template's head
export const TEMPLATE_SLOTS = 0; // u32
export const TEMPLATE_UNIT = 4; // u32: FPU_TRAP bits
export const TEMPLATE_BITS = 8; // u32
export const TEMPLATE_ENDING = 12; // u32: END_*
export const TEMPLATE_WORDS = 16; // u32
export const TEMPLATE_CODE = 20; // words

export const TEMPLATE_VEX = 1;
/** Somebody may look at the flags as they were before it: the instruction itself, or whoever goes on when it leaves. */
export const TEMPLATE_LOOKS = 2;
/** Sets all arithmetic flags, whatever happens. */
export const TEMPLATE_SETS = 4;
/** A call or the like: execution comes back behind it. */
export const TEMPLATE_COMES_BACK = 8;

// What is known of a shape, in place of its template's address
export const SHAPE_UNKNOWN = 0;
export const SHAPE_NONE = 1; // no instruction: an end, a page crossing, something stale or undefined
export const SHAPE_INTERPRETED = 2; // not compiled; execution may go on behind it
export const SHAPE_ENDS = 3; // not compiled, and it does not
export const SHAPE_BY_BYTE = 4; // it depends on the immediate's low byte: see COMPILE_BYTE_SHAPES

// Numbers of functions that the emitter itself calls
export const CALLEE_STORE_FLAGS = 0;

// WebAssembly opcodes as one number: those of one byte as they are; prefixed ones behind these.
export const PREFIX_FD = 0x1000;
export const PREFIX_FC = 0x2000;

export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;

// How instructions and blocks end
export const END_NEXT = 0;
export const END_JUMP = 1;
export const END_BRANCH = 2;
export const END_CALL = 3;
export const END_RETURN = 4;
export const END_INDIRECT = 5;
export const END_LEAVE = 6; // of a block: what follows is the interpreter's

// A region: how much there is of each, and where (addresses); blocks begin at IN_TABLES. Offsets (`AT`) count from the base of the page that it was
// found from; they may be negative.
export const IN_BLOCKS = 0;
export const IN_PAGES = 4;
export const IN_PAGES_AT = 8;
/** Entries have numbers of one byte. */
export const MOST_ENTRIES = 200;
/** Places that execution comes to from outside, the first being where it was found hot: offsets and records. */
export const IN_ENTRIES = 12;
export const IN_ENTRIES_AT = 16;
/** Where calls in it return to: offsets and records. */
export const IN_RETURNS = 20;
export const IN_RETURNS_AT = 24;
/** Places outside, on the same page, that blocks go on to: offsets and records. */
export const IN_NEIGHBOURS = 28;
export const IN_NEIGHBOURS_AT = 32;
export const IN_STEPS = 36; // instructions in all
export const IN_TABLES = 40;

export const BLOCK_AT = 0;
export const BLOCK_RECORD = 4;
export const BLOCK_ENDING = 8;
/** Record that the interpreter goes on with, when it leaves. */
export const BLOCK_LEAVE_AT = 12;
export const BLOCK_STEPS = 16; // address
export const BLOCK_COUNT = 20; // never 0
export const BLOCK_WORDS = 6;

export const PAGE_DELTA = 0; // offset from the first page, in bytes
export const PAGE_CODE = 4; // its code page, and the version that this had
export const PAGE_VERSION = 8;
export const PAGE_NUMBER = 12; // RAM page, in host order
export const PAGE_USED = 16;
export const PAGE_WORDS = 5;

export const STEP_RECORD = 0;
export const STEP_DECODED = 4; // address of the decoded instruction, or of a copy
export const STEP_AT = 8;
export const STEP_TEMPLATE = 12;
export const STEP_WORDS = 4;
