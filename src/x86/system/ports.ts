/** IN, OUT and their string forms; HLT and STI. SDM vol. 1, 19.5. */
import type { Cpu } from '../cpu.ts';
import { GP } from '../faults.ts';
import { DF, VM } from '../flags.ts';
import type { Instruction } from '../instruction.ts';
import type { Width } from '../../machine/bus.ts';
import * as L from '../runtime/layout.ts';
import { TR } from '../state.ts';
import { IMPLICIT } from './access.ts';
import type { Routine } from './routine.ts';

const CR4_DE = 1 << 3;
/** Type of a breakpoint in DR7. */
const PORT_ACCESS = 2;

/** Breakpoints on ports, which CR4.DE brings. SDM vol. 3, 18.2.4. */
function noteWatched(cpu: Cpu, port: number, bytes: number): void {
  const { state } = cpu;
  const dr7 = state.u32(L.DR7);
  if (!(dr7 & 0xff) || !(state.u32(L.CR4) & CR4_DE)) return;
  for (let n = 0; n < 4; n++) {
    const description = dr7 >>> (16 + n * 4);
    if (!(dr7 & (3 << (n * 2))) || (description & 3) !== PORT_ACCESS) continue;
    const length = ((description >> 2) & 3) + 1;
    const at = Number(state.u64(L.DR + n * 8)) & ~(length - 1);
    if (port < at + length && at < port + bytes) state.setU32(L.WATCH_HITS, state.u32(L.WATCH_HITS) | (1 << n));
  }
}

function allowed(cpu: Cpu, port: number, bytes: number): boolean {
  noteWatched(cpu, port, bytes);
  return permitted(cpu, port, bytes);
}

/** The TSS's permission bitmap decides when CPL is above IOPL. */
function permitted(cpu: Cpu, port: number, bytes: number): boolean {
  const { state } = cpu;
  const flags = state.u32(L.RFLAGS);
  if (!cpu.protectedMode || (cpu.cpl <= ((flags >> 12) & 3) && !(flags & VM))) return true;
  const limit = state.limit(TR);
  const type = state.attributes(TR) & 15;
  if ((type !== 11 && type !== 9) || limit < 103) return cpu.fault(GP, 0);
  const map = cpu.read(state.base(TR) + 102n, 2, IMPLICIT);
  if (map === undefined) return false;
  const at = Number(map) + (port >> 3);
  if (at + 1 > limit) return cpu.fault(GP, 0);
  const bits = cpu.read(BigInt.asUintN(64, state.base(TR) + BigInt(at)), 2, IMPLICIT);
  if (bits === undefined) return false;
  return (Number(bits) >> (port & 7)) & ((1 << bytes) - 1) ? cpu.fault(GP, 0) : true;
}

/** Port of IN and OUT: the immediate, or DX. */
function portOf(cpu: Cpu, i: Instruction): number {
  return i.opcode & 8 ? cpu.state.u16(L.GPR + 16) : i.immediate & 0xff;
}

const widthOf = (i: Instruction): Width => (i.opcode & 1 ? (i.size === 16 ? 2 : 4) : 1);

const input: Routine = (cpu, i) => {
  const port = portOf(cpu, i);
  const width = widthOf(i);
  if (!allowed(cpu, port, width)) return false;
  cpu.writeRegister(L.GPR, width * 8, BigInt(cpu.host.pio.read(port, width) >>> 0));
  return true;
};

const output: Routine = (cpu, i) => {
  const port = portOf(cpu, i);
  const width = widthOf(i);
  if (!allowed(cpu, port, width)) return false;
  const value = cpu.state.gpr32(0);
  cpu.host.pio.write(port, width, width === 4 ? value : value & (width === 2 ? 0xffff : 0xff));
  return true;
};

const stringWidth = (i: Instruction): Width => (i.encoding.row.byteSized ? 1 : i.size === 16 ? 2 : 4);

/** Registers of the string forms in the width of the address size. */
function counter(cpu: Cpu, i: Instruction, register: number): bigint {
  return BigInt.asUintN(i.addressBits, cpu.state.gpr(register));
}

function setCounter(cpu: Cpu, i: Instruction, register: number, value: bigint): void {
  cpu.writeRegister(L.GPR + register * 8, i.addressBits, value);
}

/** One element of INS or OUTS; repeats by staying at the same instruction while the count lasts. */
function stringIo(element: (cpu: Cpu, i: Instruction, width: Width, port: number) => boolean): Routine {
  return (cpu, i) => {
    const width = stringWidth(i);
    const port = cpu.state.u16(L.GPR + 16);
    if (!allowed(cpu, port, width)) return false; // also if there is nothing to repeat
    const repeats = i.variant.rep !== 'none';
    const count = counter(cpu, i, 1);
    if (repeats && count === 0n) return true;
    if (!element(cpu, i, width, port)) return false;
    if (repeats) {
      setCounter(cpu, i, 1, count - 1n);
      if (count > 1n) cpu.next = cpu.wrap(cpu.next - BigInt(i.length));
    }
    return true;
  };
}

const step = (cpu: Cpu, width: number): bigint => BigInt(cpu.state.u32(L.RFLAGS) & DF ? -width : width);

const inputString = stringIo((cpu, i, width, port) => {
  const at = counter(cpu, i, 7);
  const va = BigInt.asUintN(64, cpu.engine.runtime.segmented(0, at, width | 256));
  // Checked before the port is read: a fault must not lose its data.
  const before = cpu.read(va, width);
  if (before === undefined || !cpu.write(va, width, before)) return false;
  cpu.write(va, width, BigInt(cpu.host.pio.read(port, width) >>> 0));
  setCounter(cpu, i, 7, at + step(cpu, width));
  return true;
});

const outputString = stringIo((cpu, i, width, port) => {
  const at = counter(cpu, i, 6);
  const value = cpu.read(BigInt.asUintN(64, cpu.engine.runtime.segmented(i.segment, at, width)), width);
  if (value === undefined) return false;
  cpu.host.pio.write(port, width, Number(value));
  setCounter(cpu, i, 6, at + step(cpu, width));
  return true;
});

const halt: Routine = (cpu) => {
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  cpu.halt();
  return true;
};

export const PORTS: Readonly<Record<string, Routine>> = { input, output, inputString, outputString, halt };
