/** Where QEMU's interpreter (7.2) is known to differ from the manual, and so from us. Each says which cases it covers. */

/** One case of an image: what its handler logged. */
export interface Case {
  readonly operation: string;
  /** Privilege, or in virtual.S the kind of mode. */
  readonly level: number;
  /** Selector, vector or other parameter. */
  readonly parameter: number;
  readonly vector: number;
  readonly error: number;
  /** All words, in the order of the handler. */
  readonly words: Uint32Array;
}

export interface Difference {
  readonly why: string;
  readonly images: readonly string[];
  readonly covers: (qemu: Case, here: Case) => boolean;
}

const UD = 6;
const DB = 1;
const DOUBLE_FAULT = 8;
const TS = 10;
const NP = 11;
const STACK = 12;
const GP = 13;
const PAGE_FAULT = 14;
/** INT 0x81: the case ran through. */
const THROUGH = 0x81;

const CS_WORD = 6;
const FLAGS_WORD = 7;
const SEGMENTED = ['protected', 'long'];
const far = ({ operation }: Case): boolean => /^(op_|n_)?(jmp|call)/.test(operation);
const returns = ({ operation }: Case): boolean => /^(op_|n_)?(retf|iret)/.test(operation);
const interrupts = ({ operation }: Case): boolean => /^(op_|n_)?int/.test(operation);
const changed = (a: Case, b: Case): number[] => [...a.words.keys()].filter((n) => a.words[n] !== b.words[n]);
const descriptor = ({ parameter }: Case): number => parameter & ~3;
/** A 32 KiB code segment, and call gates to it. */
const TOO_SMALL: ReadonlySet<number> = new Set([0x60, 0x8e0, 0x958]);

export const DIFFERENCES: readonly Difference[] = [
  {
    why: 'IRET and RETF to a stack segment that is not present are #SS; QEMU has #NP',
    images: SEGMENTED,
    covers: (qemu, here) => returns(here) && here.vector === STACK && qemu.vector === NP && qemu.error === here.error,
  },
  {
    why: 'targets beyond the limit of CS, by return or through a gate, are #GP; QEMU does not check',
    images: ['protected'],
    covers: (qemu, here) =>
      here.vector === GP &&
      qemu.vector === THROUGH &&
      here.error === 0 &&
      (interrupts(here) ? [0x9c, 0xa9, 0xb6, 0xc3].includes(here.parameter) : TOO_SMALL.has(descriptor(here))),
  },
  {
    why: 'a return beyond the limit of CS is #GP; so is a segment with both L and D, and RIP 1 << 47',
    images: ['long'],
    covers: (qemu, here) =>
      here.vector === GP && qemu.vector === THROUGH && (here.operation === 'iret_high' || [0xa8, 0xb0].includes(descriptor(here))),
  },
  {
    why: 'the error code of CALL beyond the limit of CS is 0; QEMU gives the selector',
    images: SEGMENTED,
    covers: (qemu, here) => far(here) && here.vector === GP && qemu.vector === GP && here.error === 0 && qemu.error === descriptor(here),
  },
  {
    why: 'through a call gate to a conforming segment the RPL of CS becomes CPL; QEMU makes it the DPL',
    images: SEGMENTED,
    covers: (qemu, here) => far(here) && here.vector === THROUGH && qemu.vector === THROUGH && (here.words[CS_WORD]! & 3) === here.level,
  },
  {
    why: 'JMP through a gate to code that is not present is #NP; QEMU has #GP',
    images: SEGMENTED,
    covers: (qemu, here) =>
      far(here) &&
      here.vector === NP &&
      qemu.vector === GP &&
      here.error === qemu.error &&
      [0x8d0, 0x948, 0x980].includes(descriptor(here)),
  },
  {
    why: 'a TSS in the LDT is #GP for JMP, CALL and INT; QEMU has #TS',
    images: ['protected'],
    covers: (qemu, here) => here.vector === GP && qemu.vector === TS && here.error === qemu.error,
  },
  {
    why: 'after a switch to a 16-bit task QEMU keeps the upper halves of registers, which are undefined',
    images: ['protected'],
    covers: (qemu, here) =>
      here.vector === THROUGH && qemu.vector === THROUGH && here.words[12]! >>> 16 === 0xffff && (here.words[12]! & 0xffff) === 0xb0b0,
  },
  {
    why: 'a fault in the new task is found at its first instruction; QEMU has an address in between',
    images: ['protected'],
    covers: (qemu, here) => here.vector === qemu.vector && here.vector < 32 && here.words[5] === 0x8000,
  },
  {
    why: 'before SS of the new task is loaded there is no stack to deliver #TS on; QEMU does not look',
    images: ['protected'],
    covers: (qemu, here) => far(here) && here.vector === DOUBLE_FAULT && qemu.vector === TS && descriptor(here) >= 0x970,
  },
  {
    why: 'QEMU knows no debug trap on task switches',
    images: ['protected'],
    covers: (qemu, here) => here.vector === DB && qemu.vector === THROUGH && descriptor(here) === 0x9e0,
  },
  {
    why: 'QEMU knows no INT1',
    images: ['protected'],
    covers: (qemu, here) => here.operation === 'op_int1' && here.vector === DB && qemu.vector === UD,
  },
  {
    why: 'QEMU does not check limits of stack segments',
    images: ['protected'],
    covers: (qemu, here) =>
      here.operation.endsWith('ss') && here.vector === DOUBLE_FAULT && qemu.vector === THROUGH && here.parameter !== 0,
  },
  {
    why: 'LAR: bits 19 to 16 are undefined; QEMU does not set the accessed bit of every segment that it loads',
    images: SEGMENTED,
    covers: (qemu, here) =>
      /lar/.test(here.operation) &&
      here.vector === THROUGH &&
      qemu.vector === THROUGH &&
      ((here.words[13]! ^ qemu.words[13]!) & ~0xf0100) === 0,
  },
  {
    why: 'LAR and LSL of types that long mode does not have clear ZF; QEMU lets 16-bit ones pass',
    images: ['long'],
    covers: (qemu, here) =>
      /lar|lsl/.test(here.operation) &&
      here.vector === THROUGH &&
      (here.words[FLAGS_WORD]! & 0x40) === 0 &&
      (qemu.words[FLAGS_WORD]! & 0x40) !== 0,
  },
  {
    why: 'LTR of a null selector is #GP(0)',
    images: SEGMENTED,
    covers: (qemu, here) =>
      /ltr/.test(here.operation) && here.parameter < 4 && here.vector === GP && here.error === 0 && qemu.vector === THROUGH,
  },
  {
    why: 'LLDT and LTR in long mode: the upper half has no type and the base is canonical; QEMU does not look',
    images: ['long'],
    covers: (qemu, here) =>
      /lldt|ltr/.test(here.operation) &&
      here.vector === GP &&
      (qemu.vector === THROUGH || qemu.vector === NP) &&
      here.error === descriptor(here),
  },
  {
    why: 'IRET clears or sets VIF and VIP at CPL 0; QEMU leaves them',
    images: ['protected'],
    covers: (qemu, here) =>
      here.operation === 'op_iret' && here.vector === THROUGH && ((here.words[FLAGS_WORD]! ^ qemu.words[FLAGS_WORD]!) & ~0x180000) === 0,
  },
  {
    why: 'a null SS wants RPL = CPL in 64-bit code; QEMU takes any, and CPL from it',
    images: ['long'],
    covers: (_, here) => /ss/.test(here.operation) && here.parameter < 4 && (here.parameter === here.level) === (here.vector === THROUGH),
  },
  {
    why: 'QEMU takes CPL from SS, and so loses it in 64-bit code of levels 1 and 2 with a null SS',
    images: ['long'],
    covers: (qemu, here) =>
      /call/.test(here.operation) && here.vector === THROUGH && qemu.vector === THROUGH && [0x8e0, 0x900].includes(descriptor(here)),
  },
  {
    why: 'RIP that is not canonical is the instruction’s #GP(0); QEMU finds out at the target, or cuts it',
    images: ['long'],
    covers: (qemu, here) =>
      here.vector === GP && (here.operation === 'iret_high' || (here.error === 0 && qemu.vector === GP && qemu.error === 0)),
  },
  {
    why: 'the index in an IDT error code is the vector; QEMU doubles it in long mode',
    images: ['long'],
    covers: (qemu, here) =>
      interrupts(here) &&
      here.vector === qemu.vector &&
      here.vector !== PAGE_FAULT &&
      (here.error & 2) !== 0 &&
      qemu.error === (here.error & ~7) * 2 + 2,
  },
  {
    why: 'a handler of level 3 has its frame pushed as user; QEMU does it as supervisor',
    images: ['long'],
    covers: (qemu, here) =>
      interrupts(here) && here.vector === PAGE_FAULT && qemu.vector === PAGE_FAULT && here.error === 6 && qemu.error === 2,
  },
  {
    why: 'an interrupt through the IST that does not change CPL leaves SS; QEMU clears it',
    images: ['long'],
    covers: (qemu, here) =>
      interrupts(here) && here.vector === THROUGH && (here.parameter === 0xbd || here.parameter === 0xbe) && changed(qemu, here).length < 4,
  },
  {
    why: 'QEMU has the virtual-8086 mode extensions for user programs only',
    images: ['virtual'],
    covers: (_, here) => (here.level & 4) !== 0 && /^(cli_|sti_|pushf_|popf_|iret_|int_n)$/.test(here.operation),
  },
  {
    why: 'QEMU does not check limits in real mode',
    images: ['real'],
    covers: (_, here) => /^(far_beyond|far_return_beyond|word_at_end)$/.test(here.operation),
  },
  {
    why: 'QEMU does not check limits in virtual-8086 mode',
    images: ['virtual'],
    covers: (_, here) =>
      (/^(far_beyond|far_return_beyond|word_at_end)$/.test(here.operation) && here.vector === GP) ||
      (here.operation === 'push_odd' && here.vector === STACK),
  },
];
