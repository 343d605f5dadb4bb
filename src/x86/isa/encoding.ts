/** Parses the encodings of rows into what the decoder and the back ends work with. */
import { assert } from '../../base/errors.ts';
import type { Row } from './row.ts';

export type Access = 'r' | 'w' | 'rw';

export interface Operand {
  /** SDM vol. 2, A.2.1; `F` is a fixed register, `K` the constant 1. */
  readonly letter: string;
  /** Operand size letters; see `operandBits`. */
  readonly size: string;
  readonly access: Access;
  /** For `F`: register number (AL, rAX: 0; CL: 1; DX: 2). */
  readonly fixed: number;
}

/** 0: one-byte, 1: 0F, 2: 0F38, 3: 0F3A. */
export type OpcodeMap = 0 | 1 | 2 | 3;

export interface Encoding {
  readonly row: Row;
  readonly text: string;
  /** Position in the table: its identity. */
  readonly number: number;
  readonly map: OpcodeMap;
  readonly opcode: number;
  /** Mandatory prefix: 0 none given, 1 `NP`, or 0x66, 0xF2, 0xF3. */
  readonly prefix: number;
  readonly vex: boolean;
  /** 128 or 256; 0 when it does not matter or is not VEX. */
  readonly vectorBits: 0 | 128 | 256;
  /** 0 or 1 when W must have that value. */
  readonly w: 0 | 1 | undefined;
  readonly modrm: boolean;
  /** Opcode extension in ModRM.reg. */
  readonly digit: number | undefined;
  /** The whole ModRM byte, for instructions such as `0F 01 F8`. */
  readonly exact: number | undefined;
  readonly form: 'any' | 'mem' | 'reg';
  readonly plusRegister: boolean;
  readonly operands: readonly Operand[];
  /** Operand size comes from prefixes and mode (16, 32, 64). */
  readonly sized: boolean;
}

const FIXED: Readonly<Record<string, [size: string, register: number]>> = {
  AL: ['b', 0], CL: ['b', 1], AX: ['w', 0], DX: ['w', 2], eAX: ['z', 0], rAX: ['v', 0], rDX: ['v', 2], XMM0: ['dq', 0],
}; // prettier-ignore

function parseOperand(text: string): Operand {
  const last = text.at(-1);
  const access: Access = last === '+' ? 'rw' : last === '=' ? 'w' : 'r';
  const name = access === 'r' ? text : text.slice(0, -1);
  const fixed = FIXED[name];
  if (fixed) return { letter: name === 'XMM0' ? 'X' : 'F', size: fixed[0], access, fixed: fixed[1] };
  if (name === '1') return { letter: 'K', size: 'b', access, fixed: 0 };
  assert(/^[A-Z][a-z0-9]*$/.test(name), `operand ${text}`);
  return { letter: name[0]!, size: name.slice(1), access, fixed: 0 };
}

export function parseEncoding(row: Row, text: string, number: number): Encoding {
  const [pattern, operandText] = text.split(':').map((part) => part.trim()) as [string, string | undefined];
  const operands = (operandText ?? '').split(' ').filter(Boolean).map(parseOperand);
  let map: OpcodeMap = 0;
  let prefix = 0;
  let vex = false;
  let vectorBits: 0 | 128 | 256 = 0;
  let w: 0 | 1 | undefined;
  let digit: number | undefined;
  let exact: number | undefined;
  let modrm = false;
  let form: 'any' | 'mem' | 'reg' = 'any';
  let plusRegister = false;
  const opcodes: number[] = [];
  for (const token of pattern.split(' ')) {
    if (token.startsWith('VEX.')) {
      vex = true;
      for (const part of token.split('.').slice(1)) {
        if (part === '128' || part === '256') vectorBits = Number(part) as 128 | 256;
        else if (part === '66' || part === 'F2' || part === 'F3') prefix = Number.parseInt(part, 16);
        else if (part === 'NP') prefix = 1;
        else if (part === '0F') map = 1;
        else if (part === '0F38') map = 2;
        else if (part === '0F3A') map = 3;
        else if (part === 'W0') w = 0;
        else if (part === 'W1') w = 1;
        else assert(part === 'WIG' || part === 'LIG', `${row.mnemonic}: VEX part ${part}`);
      }
      if (prefix === 0) prefix = 1;
    } else if (token === 'NP') prefix = 1;
    else if (token === 'REX.W' || token === 'W1') w = 1;
    else if (token === 'W0') w = 0;
    else if (token === '/r') modrm = true;
    else if (/^\/[0-7]$/.test(token)) {
      modrm = true;
      digit = Number(token[1]);
    } else if (/^\/=[0-9A-F]{2}$/.test(token)) {
      modrm = true;
      exact = Number.parseInt(token.slice(2), 16);
    } else if (token === 'mem' || token === 'reg') form = token;
    else if (token === '+r') plusRegister = true;
    else {
      assert(/^[0-9A-F]{2}$/.test(token), `${row.mnemonic}: cannot read ${token} in ${text}`);
      const byte = Number.parseInt(token, 16);
      // A first 66, F2 or F3 that is followed by another byte is a mandatory prefix.
      const mandatory = /^(66|F2|F3) (REX\.W |W0 )?[0-9A-F]{2}/.test(pattern);
      if (opcodes.length === 0 && map === 0 && !vex && prefix === 0 && mandatory) prefix = byte;
      else if (opcodes.length === 0 && map === 0 && byte === 0x0f) map = 1;
      else if (opcodes.length === 0 && map === 1 && !vex && byte === 0x38) map = 2;
      else if (opcodes.length === 0 && map === 1 && !vex && byte === 0x3a) map = 3;
      else opcodes.push(byte);
    }
  }
  assert(opcodes.length === 1, `${row.mnemonic}: one opcode byte in ${text}`);
  const sized = operands.some(({ letter, size }) => !'VWUHPQNXCD'.includes(letter) && /^[vzy]$/.test(size)) || /Jz/.test(text);
  return {
    row, text, number, map, opcode: opcodes[0]!, prefix, vex, vectorBits, w, modrm, digit, exact, form, plusRegister, operands,
    sized: sized || row.stack64 === true || row.sized === true,
  }; // prettier-ignore
}

/** Bits of an operand, given the instruction's operand size and vector length. */
export function operandBits(size: string, operandSize: number, vectorBits: number): number {
  switch (size) {
    case 'b': return 8;
    case 'w': return 16;
    case 'd': case 'ss': return 32;
    case 'q': case 'sd': return 64;
    case 'dq': return 128;
    case 'qq': return 256;
    case 't': return 80;
    case 'v': return operandSize;
    case 'z': return Math.min(operandSize, 32);
    case 'y': return Math.max(operandSize, 32);
    case 'x': return vectorBits || 128;
    case 'h': return (vectorBits || 128) / 2; // half a vector
    case 'u': return (vectorBits || 128) / 4; // a quarter
    case 'e': return (vectorBits || 128) / 8; // an eighth
    case 'p': return operandSize + 16;
    case 'a': case '': return 0; // address only
    default: throw new Error(`bug: operand size ${size}`);
  } // prettier-ignore
}
