/** Arithmetic on decimal digits. SDM vol. 2, AAA to AAS, DAA, DAS. */
import type { Cpu } from '../cpu.ts';
import { DE } from '../faults.ts';
import { AF, ARITHMETIC, CF, PF, SF, ZF } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import type { Routine } from './routine.ts';

const AL = L.GPR;
const DAA = 0x27;
const AAA = 0x37;

/** SF, ZF and PF of a byte. */
function byteFlags(value: number): number {
  let parity = value ^ (value >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (value & SF) | (value === 0 ? ZF : 0) | (parity & 1 ? 0 : PF);
}

function setFlags(cpu: Cpu, flags: number): void {
  cpu.rflags = (cpu.rflags & ~ARITHMETIC) | flags;
}

const decimalAdjust: Routine = (cpu, i) => {
  const { state } = cpu;
  const flags = cpu.rflags;
  const old = state.u16(AL) & 0xff;
  const sign = i.opcode === DAA ? 1 : -1;
  let value = old;
  let carry = flags & CF;
  let adjust = 0;
  if ((old & 15) > 9 || flags & AF) {
    value += 6 * sign;
    if (value < 0) carry = CF;
    adjust = AF;
  }
  if (old > 0x99 || flags & CF) {
    value += 0x60 * sign;
    carry = CF;
  } else if (sign > 0) carry = 0;
  value &= 0xff;
  state.setU8(AL, value);
  setFlags(cpu, byteFlags(value) | adjust | carry);
  return true;
};

const asciiAdjust: Routine = (cpu, i) => {
  const { state } = cpu;
  let value = state.u16(AL);
  const digit = (value & 15) > 9 || (cpu.rflags & AF) !== 0;
  if (digit) value += i.opcode === AAA ? 0x106 : -0x106;
  state.setU16(AL, value & 0xff0f);
  setFlags(cpu, byteFlags(value & 15) | (digit ? AF | CF : 0));
  return true;
};

const asciiMultiply: Routine = (cpu, i) => {
  const { state } = cpu;
  const base = i.immediate & 0xff;
  if (base === 0) return cpu.fault(DE);
  const value = state.u16(AL) & 0xff;
  const low = value % base;
  state.setU16(AL, (Math.floor(value / base) << 8) | low);
  setFlags(cpu, byteFlags(low));
  return true;
};

const asciiDivide: Routine = (cpu, i) => {
  const { state } = cpu;
  const value = state.u16(AL);
  const low = ((value & 0xff) + (value >> 8) * (i.immediate & 0xff)) & 0xff;
  state.setU16(AL, low);
  setFlags(cpu, byteFlags(low));
  return true;
};

export const DECIMAL: Readonly<Record<string, Routine>> = { decimalAdjust, asciiAdjust, asciiMultiply, asciiDivide };
