/**
 * Where everything lies in the engine's part of the linear memory. Read by TypeScript (code generation, state
 * access) and by AssemblyScript (the runtime) alike, so it holds nothing but integer constants.
 *
 * Up to RAM it is a map: addresses in hexadecimal, each with its size in bytes behind it (`// 16 * u64`) or an end of its own
 * (NAME_END). What follows from others says how (`// = TLB_ENTRIES * 16`). test/style/layout.test.ts holds it to that.
 */

// 0x0400 to 0x7fff: constant tables of the runtime.

/** The vCPU's state. Register operands in decoded instructions are these addresses, as 16-bit numbers. */
export const STATE = 0x8000; // = GPR

/** rax rcx rdx rbx rsp rbp rsi rdi r8…r15. */
export const GPR = 0x8000; // 16 * u64
/** Always 0: the base or index of an address that has none. */
export const ZERO = 0x8080; // u64
/** Linear address of the page that the current instruction starts in. */
export const PAGE_BASE = 0x8088; // u64
/** The last flag-setting result, sign-extended; with FLAG_AUX it gives the arithmetic flags: see flags.ts. */
export const FLAG_RES = 0x8090; // u64
export const FLAG_AUX = 0x8098; // u32
/** RFLAGS without the arithmetic flags. */
export const RFLAGS = 0x809c; // u32
/** Next RIP (as a linear address: CS base included); valid outside of handlers only. */
export const NEXT = 0x80a0; // u64
/** Record address at which the budget would be used up if execution went straight on. */
export const DEADLINE = 0x80a8; // u32
/** Record at which handlers were left. */
export const EXIT_RECORD = 0x80ac; // u32
export const TLB_READ = 0x80b0; // u32
export const TLB_WRITE = 0x80b4; // u32
export const TLB_CODE = 0x80b8; // u32
export const CPL = 0x80bc; // u32
/** Non-zero when something waits for an instruction boundary with IF set: see PENDING_* in vcpu. */
export const PENDING = 0x80c0; // u32
export const FAULT_VECTOR = 0x80c4; // u32
export const FAULT_ERROR = 0x80c8; // u32
/** Where the write bounced through BOUNCE has to go: set by translateWrite, used by commit. */
export const BOUNCE_VA = 0x80d0; // u64
export const BOUNCE_SIZE = 0x80d8; // u16
export const CR0 = 0x80e0; // u64
export const CR2 = 0x80e8; // u64
export const CR3 = 0x80f0; // u64
export const CR4 = 0x80f8; // u64
export const EFER = 0x8100; // u64
/** 0: 16-bit code, 1: 32-bit, 2: 64-bit. */
export const CODE_MODE = 0x8108; // u32
/** Mask of the stack pointer's width when not in 64-bit mode (0xffff or 0xffffffff). */
export const STACK_MASK = 0x810c; // u32
/** Non-zero bits forbid x87 (1), MMX/SSE (2), AVX (4): #NM or #UD is found out then. */
export const FPU_TRAP = 0x8110; // u32
export const DR7 = 0x8114; // u32
export const DR = 0x8118; // 5 * u64: DR0..DR3, DR6
export const SEG_BASE = 0x8140; // 8 * u64: es cs ss ds fs gs ldtr tr
export const SEG_LIMIT = 0x8180; // 8 * u32
export const SEG_ATTR = 0x81a0; // 8 * u32
export const SEG_SELECTOR = 0x81c0; // 8 * u32
export const GDTR_BASE = 0x81e0; // u64
export const GDTR_LIMIT = 0x81e8; // u32
export const IDTR_BASE = 0x81f0; // u64
export const IDTR_LIMIT = 0x81f8; // u32
export const STAR = 0x8200; // u64
export const LSTAR = 0x8208; // u64
export const CSTAR = 0x8210; // u64
export const SFMASK = 0x8218; // u64
export const KERNEL_GS_BASE = 0x8220; // u64
export const SYSENTER_CS = 0x8228; // u64
export const SYSENTER_ESP = 0x8230; // u64
export const SYSENTER_EIP = 0x8238; // u64
export const PAT = 0x8240; // u64
export const TSC_AUX = 0x8248; // u64
export const TSC_OFFSET = 0x8250; // u64
export const XCR0 = 0x8258; // u64
export const CR8 = 0x8260; // u64
export const XSS = 0x8268; // u64
/** Where the guest wants KVM's clock structures. */
export const KVM_WALL = 0x8270; // u64
export const KVM_TIME = 0x8278; // u64

/** x87: control, status (without TOP), tag (one bit a register: 1 = valid), TOP, last opcode and pointers. */
export const FCW = 0x8280; // u32
export const FSW = 0x8284; // u32
export const FTAG = 0x8288; // u32
export const FTOP = 0x828c; // u32
export const FOP = 0x8290; // u32
export const FIP = 0x8298; // u64
export const FDP = 0x82a0; // u64
export const MXCSR = 0x82a8; // u32
/** Unmasked SSE exceptions raised since the caller last cleared it (flag bits as in MXCSR); non-zero means #XM. */
export const SSE_FAULT = 0x82ac; // u32
/** Which of DR0…DR3 the instruction has accessed, one bit each. */
export const WATCH_HITS = 0x82b0; // u32
/** NMIs are held off until IRET. */
export const NMI_BLOCKED = 0x82b4; // u32
/** PAE paging: the four page-directory-pointer entries, as loaded with CR3. */
export const PDPTES = 0x82c0; // 4 * u64
/** IA32_SPEC_CTRL */
export const SPEC_CTRL = 0x82e0; // u64
/** IA32_TSC_ADJUST: the part of TSC_OFFSET that the guest has brought about. */
export const TSC_ADJUST = 0x82e8; // u64
/** R0…R7: significand at 0, sign and exponent at 8. MMX registers are the significands. */
export const X87 = 0x8300; // 8 * 16
/** YMM0…YMM15. */
export const YMM = 0x8400; // 16 * 32

/** Page-crossing and MMIO accesses go through here. Lies below every guest byte: `host < BOUNCE_END` tells. */
export const BOUNCE = 0x8700;
export const BOUNCE_END = 0x8800;
/** Temporaries for calls into the runtime, in slots. */
export const SCRATCH = 0x8800; // 16 * 32

/** Guest-physical address of the bounced write's second part, on the next page. */
export const BOUNCE_PA2 = 0x8a00; // u64
/** What the memory is like: set once. RAM below and above 4 GiB in bytes, address of the dirty map. */
export const RAM_LOW = 0x8a08; // u64
export const RAM_HIGH = 0x8a10; // u64
export const DIRTY_MAP = 0x8a18; // u32
/** Where the next code page or run goes. */
export const ARENA_NEXT = 0x8a1c; // u32
/** First free code page, a linked list through CP_RUNS. */
export const CODE_FREE = 0x8a20; // u32
/** Counters, for people. */
export const COUNT_TLB_MISSES = 0x8a28; // u64
export const COUNT_INVALIDATIONS = 0x8a30; // u64
/** Versions given to code pages so far. */
export const CODE_VERSION = 0x8a38; // u32
/** Jumps to a record in a period before EXIT_HOT, below 2^16; 0: never. */
export const HOT = 0x8a3c; // u32
/** RAM pages (numbers in host order) whose code has been dropped since the compiler last looked; the count may exceed the list. */
export const DROPPED_COUNT = 0x8a60; // u32
/** 32 times the instructions that compiled code has executed. */
export const COUNT_COMPILED = 0x8a68; // u64
/** Flags on their way from one stretch of compiled code to the next: LAZY_*, and its two values. Elsewhere LAZY_MEMORY. */
export const LAZY_KIND = 0x8a70; // u32
export const LAZY_A = 0x8a78; // u64
export const LAZY_B = 0x8a80; // u64
/** The present period of counting jumps, from bit 16 on, as in notes; bit 31 is clear. */
export const HEAT_PERIOD = 0x8a88; // u32
/** Instructions decoded so far. */
export const COUNT_DECODED = 0x8a90; // u64
/** Non-zero: JUMPS holds something. Bits: of which parts of the TLBs it holds non-global pages. */
export const JUMPS_LIVE = 0x8a98; // u32
/** While some RAM is still to come from a saved state, RAM_LOW and RAM_HIGH are 0, and these have what they would be; else 0. */
export const ABSENT_LOW = 0x8ac0; // u64
export const ABSENT_HIGH = 0x8ac8; // u64
/** What is known of the kernel's part of the TLBs and of each space: 12 bytes, see tlb.ts. */
export const TLB_STATES = 0x40000; // 12 + TLB_SPACES * 12
export const DROPPED = 0x41000; // DROPPED_SIZE * u32
export const DROPPED_SIZE = 1024;
/** Guest time in a stretch of execution, as f64: nanoseconds = base + floor((executed - start) * rate). */
export const TIME_BASE = 0x8a40; // f64
export const TIME_START = 0x8a48; // f64
export const TIME_RATE = 0x8a50; // f64
/** Instructions executed (f64) when the deadline is reached. */
export const TIME_AT_DEADLINE = 0x8a58; // f64
/** Where TypeScript and the runtime hand each other bytes. */
export const TRANSFER = 0x8c00; // 1024
/**
 * Instructions that cross into another page, by the address of the record where they begin: a head (that record, the
 * other page's code page and its version), the decoded instruction, and an end.
 */
export const CROSSING = 0x42000; // CROSSINGS * CROSSING_BYTES
export const CROSSING_BYTES = 96;
export const CROSSINGS = 512;
export const X_RECORD = 0;
export const X_PAGE = 4;
export const X_VERSION = 8;

/** Images of processor state that cross a page are put together here. */
export const STAGE = 0x9000; // 1024

/** One i32 per RAM page in host order: address of its code page, or 0. */
export const CODE_PAGES = 0x50000;
export const CODE_PAGES_END = 0x450000;

/** Code pages, their parts, and decoded instructions. */
export const ARENA = 0x450000;
export const ARENA_END = 0xb5c0000;

/** The compiler's own: what is known while a region is found or built. See runtime/compile. */
export const COMPILE_STATE = 0xb5c0000; // 23552 * u32
export const COMPILE_FLOW = 0xb5d7000; // 2112 * u32
/** What came of a region: bytes of locals behind its code; functions that the module calls so far. */
export const COMPILE_RESULT = 0xb5d9100; // 2 * u32
/** By a function's number in templates: its index in the module that is being made, or 0; and the numbers in order of their indices. */
export const COMPILE_CALLEES = 0xb5d9200; // 256 * u32
export const COMPILE_CALLED = 0xb5d9600; // 256 * u32
export const COMPILE_LISTS = 0xb5da000; // 15360 * u32
export const COMPILE_PLACES = 0xb5e9000; // 12352 * u32
export const COMPILE_SLOTS = 0xb5f6000;
export const COMPILE_SLOTS_END = 0xb606000;
/** A region, laid out. */
export const COMPILE_INPUT = 0xb606000; // 16384 * u32
/** What is known of shapes, by their handlers' numbers: addresses of templates, or SHAPE_*. */
export const COMPILE_SHAPES = 0xb616000; // COMPILE_SHAPE_COUNT * u32
export const COMPILE_SHAPE_COUNT = 8192;
/** Of those that depend on the immediate's low byte: the handler, with that from bit 16 on, and what is known. */
export const COMPILE_BYTE_SHAPES = 0xb61e000; // COMPILE_BYTE_SHAPE_COUNT * u64
export const COMPILE_BYTE_SHAPE_COUNT = 1024;
export const COMPILE_TEMPLATES = 0xb620000;
export const COMPILE_TEMPLATES_END = 0xba40000;
/** A function's code, and its locals behind it. */
export const COMPILE_CODE = 0xba40000;
export const COMPILE_CODE_END = 0xbac0000;
export const COMPILE_NODES = 0xbac0000;
export const COMPILE_NODES_END = 0xbec0000;
/** The part of a code page where nothing is decoded yet: zeros. */
export const EMPTY_PART = 0xbec0000; // CODE_PART_BYTES

/**
 * Where jumps went last, by hashed address: a linear address (u64), its record (u32), and the code table that has its page (u32). Short cuts: all of
 * them go when one of their pages is flushed from the TLBs.
 */
export const JUMPS = 0xbf28000; // JUMP_ENTRIES * 16
export const JUMP_ENTRIES = 2048;
/** A byte for each hash of a linear page: non-zero when JUMPS may lead there. */
export const JUMP_PAGES = 0xbf30000; // JUMP_MARKS
export const JUMP_MARKS = 4096;

/**
 * What the decoder knows, written by decode-tables.ts. An index for each opcode of each map, legacy maps first: u16 number of its first
 * candidate, u16 how many. Candidates: C_*. Handler numbers by shape, see variants.ts.
 */
export const DECODE_INDEX = 0xbec6000; // 2 * 4 * 256 * 2 * u16
export const DECODE_CANDIDATES = 0xbec8000; // 3072 * CANDIDATE_BYTES
export const DECODE_HANDLERS = 0xbee0000; // DECODE_SHAPES * u16
export const DECODE_SHAPES = 131072;
/** By a handler's number: that of the same instruction with the conditional jump after it, or 0; see core.ts. */
export const DECODE_PAIRS = 0xbf20000; // DECODE_PAIRED * u16
export const DECODE_PAIRED = 1024;

/**
 * TLBs, of 1024 16-byte entries: sets, each of a read, a write and a code table. Two sets are the kernel's (with AC clear and set), and
 * spaces have two each (user, user with alignment checks).
 */
export const TLB = 0xbf40000;
/** As many as Linux keeps PCIDs in use. */
export const TLB_SPACES = 6;
export const TLB_PART_BYTES = 0x18000; // = 2 * TLB_SET_BYTES
export const TLB_SET_BYTES = 0xc000; // = 3 * TLB_TABLE_BYTES
export const TLB_TABLE_BYTES = 0x4000; // = TLB_ENTRIES * 16
export const TLB_ENTRIES = 1024;
export const TLB_END = 0xbfe8000; // = TLB + TLB_PART_BYTES + TLB_SPACES * TLB_PART_BYTES
/** Addresses of non-global entries filled since the last flush of those: the kernel's, and each space's. */
export const TLB_LOGS = 0xbff0000;
export const TLB_LOG_SIZE = 2048;
export const TLB_LOGS_END = 0xbffe000; // = TLB_LOGS + TLB_LOG_SIZE * u32 + TLB_SPACES * TLB_LOG_SIZE * u32

/** Guest RAM starts here. */
export const RAM = 0xc000000;

// A way to read an opcode. Ranges and orders are decode.ts's.
export const CANDIDATE_BYTES = 32;
export const C_MODES = 0; // u8: bit 0: outside 64-bit code, bit 1: in it
export const C_PREFIX = 1; // u8: mandatory prefix; 0 none given, 1 none allowed
export const C_MODRM_MASK = 2; // u8: ModRM under this mask has to be C_MODRM
export const C_MODRM = 3; // u8
export const C_FORM = 4; // u8: 0 any, 1 memory, 2 register
export const C_W = 5; // u8: 0, 1, or 2: any
export const C_VECTOR = 6; // u8: 0 any, 1: 128 bits, 2: 256
export const C_RELATIVE = 7; // u8: 0, or which relative target: 1 one byte, 2 two or four
export const C_FLAGS = 8; // u32
export const C_IMMEDIATE = 12; // 3 * u8: bytes of immediates for each operand size
export const C_EXTEND = 15; // u8: what becomes of the immediate, EXTEND_*
export const C_REG = 16; // u8: what ModRM.reg names, REG_*
export const C_RM = 17; // u8: what ModRM.rm or the opcode names, RM_*
export const C_THIRD = 18; // u8: what VEX.vvvv names: 1 general register, 2 vector
export const C_CONDITION = 19; // u8: of a conditional jump: relationOf
export const C_HANDLERS = 20; // u32: address in DECODE_HANDLERS

export const CAN_MODRM = 1;
export const CAN_PLUS = 2; // the opcode's low bits name a register
export const CAN_MEMORY = 4;
export const CAN_EXACT = 8; // ModRM is part of the opcode
export const CAN_REGISTERS = 0x10; // ModRM always names registers
export const CAN_STACK64 = 0x20;
export const CAN_SHORT64 = 0x40; // ... and 0x66 does not shorten it in 64-bit mode
export const CAN_WIDE66 = 0x80; // 0x66 is part of the opcode
export const CAN_SIZED = 0x100;
export const CAN_STRING = 0x200;
export const CAN_MODAL = 0x400;
export const CAN_VSIB = 0x800;
export const CAN_ADDRESSED = 0x1000;
export const CAN_END = 0x2000; // nothing follows in the run
export const CAN_LOCK = 0x4000;
export const CAN_ABSOLUTE = 0x8000;
export const CAN_X87 = 0x10000;

export const EXTEND_NOT = 0;
export const EXTEND_SIGN = 1; // sign-extended from its size,
export const EXTEND_BYTE = 2; // or from 8 bits, or (EXTEND_WORD) not: then cut to
export const EXTEND_WORD = 4;
export const EXTEND_TO_8 = 8; // 8 bits,
export const EXTEND_TO_SIZE = 16; // or the operand size, or 64 bits
export const EXTEND_FAR = 32; // offset and selector
export const EXTEND_REGISTER = 64; // the number of a vector register in bits 4 to 7

export const REG_BYTE = 1;
export const REG_GENERAL = 2;
export const REG_VECTOR = 3;
export const REG_MMX = 4;
export const REG_SEGMENT = 5;
export const REG_NUMBER = 6;

export const RM_BYTE = 1; // general register, if it is not memory
export const RM_GENERAL = 2;
export const RM_VECTOR = 3;
export const RM_MMX = 4;
export const RM_VECTOR_ALWAYS = 5;
export const RM_MMX_ALWAYS = 6;
export const RM_NUMBER = 7;
export const RM_OPCODE_BYTE = 8;
export const RM_OPCODE = 9;

// How compiled code knows the arithmetic flags: a kind and two values. Kinds from LAZY_ADD on are one for each operand
// size: 8, 16, 32, 64.
export const LAZY_MEMORY = 0; // as the state has them
export const LAZY_PLAIN = 1; // FLAG_RES and FLAG_AUX
export const LAZY_LOGIC = 2; // FLAG_RES; FLAG_AUX is 0
export const LAZY_ADD = 3; // a + b
export const LAZY_SUB = 7; // a - b
export const LAZY_INC = 11; // a is the result, b the carry
export const LAZY_DEC = 15;
export const LAZY_IMUL = 22; // 64 bits only: the low half of a * b

/** Instructions of a run of decoded ones, at most. */
export const RUN_LIMIT = 64;

// A decoded instruction.
export const RECORD_BYTES = 32;
export const R_HANDLER = 0; // u16
export const R_OFFSET = 2; // u16: of its first byte in its page
export const R_LENGTH = 4; // u8
export const R_SCALE = 5; // u8: log2 of the index's scale
export const R_PASSED = 5; // u8: of a conditional branch: 1 once it has not been taken
export const R_SEGMENT = 6; // u8: segment register number of the memory operand
export const R_FLAGS = 7; // u8: see REC_*
export const R_REG = 8; // u16: state address of ModRM.reg
export const R_CONDITION = 8; // u16: of a conditional jump: C_CONDITION
export const R_RM = 10; // u16: of ModRM.rm, or of the base register
export const R_INDEX = 12; // u16
export const R_VVVV = 14; // u16
export const R_DISP = 16; // i32
export const R_LINK = 16; // i32: record of the target in the same page, of a relative branch or an end, once known
export const R_NOTE = 20; // u32: see below
export const R_IMM = 24; // i64; of a branch: offset of the target from the page's base

export const REC_ADDRESS_32 = 1;
export const REC_ADDRESS_16 = 2;
export const REC_LOCK = 4;
export const REC_REP = 8;
export const REC_REPNE = 16;
/** The address is R_IMM itself (MOV between the accumulator and an absolute address). */
export const REC_ABSOLUTE = 32;
/** R_DISP, RIP-relative, lost its 33rd bit: it is positive although its sign bit is set. */
export const REC_FAR_DISPLACEMENT = 64;
/** A region that waits to be compiled begins at this record. */
export const REC_WAITING = 128;

/**
 * Of R_NOTE: a region of compiled code begins at this record; the entry's number stands from bit 16 on, and the handler that interprets the
 * record in the low half. Without it, a note is how often jumps have come to the record in a period, and from bit 16 on, which period.
 */
export const NOTE_ENTRY = 0x80000000;

// A code page: addresses of its parts, one for each 256 bytes of the page, and what follows. A part has for each byte the address of the record
// of the instruction that begins there (u32), or 0. Most pages have code in few of their parts.
export const CODE_PAGE_BYTES = 96;
export const CODE_PARTS = 16;
export const CODE_PART_BYTES = 1024;
export const CP_MODE = 64; // i32: CODE_MODE that it was decoded in
export const CP_RUNS = 68; // i32: first run, a linked list
export const CP_NUMBER = 72; // i32: RAM page number in host order
export const CP_VERSION = 76; // i32: differs from that of every other code page there ever was
/** i32: bytes at its start that instructions from the page before reach into. */
export const CP_CROSSED = 80;
// A run's header (one record in size), before its records.
export const RUN_NEXT = 0;
export const RUN_COUNT = 4;

// Handlers with fixed numbers.
export const H_STALE = 0;
export const H_END = 1;
export const H_STOP = 2;
export const H_UNDEFINED = 3;
export const H_CROSS = 4;
export const H_TOO_LONG = 5;
export const H_FIRST = 8;
/** From here on, compiled code. */
export const H_COMPILED = 0x8000;

// Why handlers were left.
export const EXIT_BUDGET = 0;
export const EXIT_FAULT = 1;
export const EXIT_LOOKUP = 2;
export const EXIT_SYSTEM = 3;
export const EXIT_STOP = 4;
export const EXIT_CHECK = 5;
export const EXIT_CROSS = 6;
/** Jumps have come to a record often enough to compile what begins there. */
export const EXIT_HOT = 7;
