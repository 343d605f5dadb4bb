/** Memory operands of system routines that `Cpu.readOperand` does not cover. SDM vol. 2, 3.1.1.3 (m16:16 to m16:64). */
import type { Cpu } from '../cpu.ts';
import { GP, SS as STACK_FAULT } from '../faults.ts';
import type { Instruction } from '../instruction.ts';
import * as L from '../runtime/layout.ts';
import { SS } from '../state.ts';
import { USER } from './access.ts';
import { canonical } from './stack.ts';

export interface FarPointer {
  readonly selector: number;
  readonly offset: bigint;
}

/**
 * Reads the pieces of a memory operand, at most 16 bytes, one after the other to TRANSFER. Each is checked for alignment by
 * its own size. False with a fault recorded: #SS for the stack segment.
 */
export function readMemory(cpu: Cpu, i: Instruction, ...pieces: readonly number[]): boolean {
  const va = cpu.address(
    i,
    pieces.reduce((sum, bytes) => sum + bytes),
  );
  if (!canonical(va)) return cpu.fault(i.segment === SS ? STACK_FAULT : GP, 0);
  cpu.state.setU64(L.TRANSFER, 0n);
  let at = 0;
  return pieces.every((bytes) => {
    const place = cpu.wrap(va + BigInt(at));
    const to = L.TRANSFER + at;
    at += bytes;
    return cpu.engine.runtime.systemRead(place, to, bytes, cpu.cpl === 3 ? USER : 0) !== 0;
  });
}

/** Far pointer, offset first; undefined with a fault recorded. */
export function readFarPointer(cpu: Cpu, i: Instruction): FarPointer | undefined {
  const { state } = cpu;
  const bytes = i.size / 8;
  if (!readMemory(cpu, i, bytes, 2)) return undefined;
  return { selector: state.u16(L.TRANSFER + bytes), offset: BigInt.asUintN(i.size, state.u64(L.TRANSFER)) };
}

/** A selector in a register or memory. */
export function readSelector(cpu: Cpu, i: Instruction): number | undefined {
  if (!i.memory) return cpu.state.u16(i.rm);
  return readMemory(cpu, i, 2) ? cpu.state.u16(L.TRANSFER) : undefined;
}
