/**
 * A stack being pushed to or popped from: the current one, or the one that a privilege change is about to make current.
 * Registers stay as they are until `keep`. SDM vol. 1, 6.2; vol. 3, 5.3, 5.8.5 and 5.14.5.
 */
import type { Cpu } from '../cpu.ts';
import { SS as STACK_FAULT } from '../faults.ts';
import { VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_CODE, ATTR_DB, SS } from '../state.ts';
import { USER } from './access.ts';

const RSP = 4;
const EXPAND_DOWN = 4;
const WIDE = 0xffff_ffff_ffff_ffffn;

export const canonical = (linear: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, linear)) === linear;

/** Whether segment registers are loaded from descriptors: protected mode, but not virtual-8086 mode. */
export const usesDescriptors = (cpu: Cpu): boolean => cpu.protectedMode && !(cpu.state.u32(L.RFLAGS) & VM);

/** What a stack segment's checks depend on. */
export interface StackSegment {
  readonly base: bigint;
  readonly limit: number;
  readonly attributes: number;
}

export class Stack {
  readonly #cpu: Cpu;
  /** Undefined in 64-bit code: no base, no limit. */
  readonly #segment: StackSegment | undefined;
  readonly #expandDown: boolean;
  readonly #mask: bigint;
  readonly #access: number;
  readonly #error: number;
  pointer: bigint;

  /**
   * @param segment undefined for 64-bit code
   * @param cpl privilege of the accesses
   * @param error error code of the #SS that a violation gives
   */
  constructor(cpu: Cpu, segment: StackSegment | undefined, pointer: bigint, cpl: number, error = 0, typed = true) {
    this.#cpu = cpu;
    this.#segment = segment;
    this.#expandDown = typed && segment !== undefined && (segment.attributes & (ATTR_CODE | EXPAND_DOWN)) === EXPAND_DOWN;
    this.#mask = segment === undefined ? WIDE : segment.attributes & ATTR_DB ? 0xffff_ffffn : 0xffffn;
    this.#access = cpl === 3 ? USER : 0;
    this.#error = error;
    this.pointer = pointer & this.#mask;
  }

  /** The stack that SS and RSP describe. */
  static current(cpu: Cpu): Stack {
    const { state, cpl } = cpu;
    if (cpu.long) return new Stack(cpu, undefined, state.gpr(RSP), cpl);
    const segment = { base: state.base(SS), limit: state.limit(SS), attributes: state.attributes(SS) };
    return new Stack(cpu, segment, state.gpr(RSP), cpl, 0, usesDescriptors(cpu));
  }

  /** Linear address of `bytes` at an offset; undefined with #SS recorded. */
  #linear(offset: bigint, bytes: number): bigint | undefined {
    const segment = this.#segment;
    if (!segment) {
      if (canonical(offset) && canonical(BigInt.asUintN(64, offset + BigInt(bytes - 1)))) return offset;
    } else {
      const first = Number(offset);
      const last = first + bytes - 1;
      const top = segment.attributes & ATTR_DB ? 0xffff_ffff : 0xffff;
      if (this.#expandDown ? first > segment.limit && last <= top : last <= segment.limit) return (segment.base + offset) & 0xffff_ffffn;
    }
    this.#cpu.fault(STACK_FAULT, this.#error);
    return undefined;
  }

  /** Lower `bytes` of a value; false with a fault recorded. */
  push(bytes: number, value: bigint | number): boolean {
    const pointer = (this.pointer - BigInt(bytes)) & this.#mask;
    const linear = this.#linear(pointer, bytes);
    if (linear === undefined || !this.#cpu.write(linear, bytes, BigInt(value), this.#access)) return false;
    this.pointer = pointer;
    return true;
  }

  /** Pushes in the order given. */
  pushAll(bytes: number, values: readonly (bigint | number)[]): boolean {
    return values.every((value) => this.push(bytes, value));
  }

  pop(bytes: number): bigint | undefined {
    const linear = this.#linear(this.pointer, bytes);
    const value = linear === undefined ? undefined : this.#cpu.read(linear, bytes, this.#access);
    if (value !== undefined) this.skip(bytes);
    return value;
  }

  /** `count` values in the order popped; undefined with a fault recorded. */
  popAll(bytes: number, count: number): bigint[] | undefined {
    const values: bigint[] = [];
    for (let n = 0; n < count; n++) {
      const value = this.pop(bytes);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  /** The pointer with what the other bits of RSP are. */
  get whole(): bigint {
    return this.#mask === 0xffffn ? (this.#cpu.state.gpr(RSP) & ~0xffffn) | this.pointer : this.pointer;
  }

  skip(bytes: number): void {
    this.pointer = (this.pointer + BigInt(bytes)) & this.#mask;
  }

  /**
   * Makes the pointer RSP, ESP or SP (or another register) by the width of this stack. With a 16-bit one the other bits stay, also where
   * the manual loads ESP whole: processors have always done so.
   */
  keep(register = RSP): void {
    const { state } = this.#cpu;
    if (this.#mask === 0xffffn) state.setU16(L.GPR + register * 8, Number(this.pointer));
    else state.setGpr(register, this.pointer);
  }
}
