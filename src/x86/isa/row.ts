/**
 * The language that instruction rows are written in. A row says how an instruction is encoded, what its operands are
 * and, once, what it means.
 *
 * An encoding reads like the manual's, then a colon, then its operands:
 *
 *     '81 /0: Ev+ Iz'              '66 0F 38 17 /r: Vx Wx'            'VEX.256.66.0F.WIG 58 /r: Vx= Hx Wx'
 *
 * - `66`, `F2`, `F3` before `0F` are mandatory prefixes; `NP` excludes them. `REX.W` wants the W bit, `W0` its absence.
 * - `/r` means ModRM with a register operand, `/0`…`/7` ModRM with an opcode extension; `+r` the low opcode bits name a register.
 * - `mem` or `reg` after it restricts ModRM to that form; `11:010:001`-like bytes are written as second opcode byte, `/r=C1`.
 * - Operands are the letters of the SDM's opcode map (vol. 2, appendix A.2): E G I J M O R Z B V W U H P Q N S C D A, or T for ST(i) in ModRM.rm,
 *   with sizes b w d q v z y x dq qq ss sd p t; or fixed registers (AL AX eAX rAX CL DX 1).
 * - `+` after an operand: read and written; `=`: only written; nothing: only read.
 */
import type { Ops } from '../ops.ts';

export type Semantics = (o: Ops) => void;

export interface RowOptions {
  /** No 32- or 16-bit operand forms in 64-bit mode: PUSH, POP, near branches. */
  readonly stack64?: boolean;
  /** #UD in 64-bit mode. */
  readonly no64?: boolean;
  /** Exists in 64-bit mode only. */
  readonly only64?: boolean;
  /** LOCK is allowed with a memory destination. */
  readonly lock?: boolean;
  /** Does not fall through: nothing follows in the run. */
  readonly ends?: boolean;
  /** A jump under the condition that the opcode's low four bits name. */
  readonly conditional?: boolean;
  /** Its meaning depends on the code being 64-bit or not in more than operand size (stack, instruction pointer). */
  readonly modal?: boolean;
  /** REP prefixes make it repeat. */
  readonly string?: boolean;
  /** Has no operand that says so, yet its operand size comes from prefixes and mode; or is always 8 bits. */
  readonly sized?: boolean;
  readonly byteSized?: boolean;
  /** Uses registers in the width of the address size (a count, a string pointer) without a ModRM memory operand. */
  readonly addressed?: boolean;
  /** ModRM always names registers, whatever its mod field says. */
  readonly registerForm?: boolean;
  /** System routine that `o.system()` leaves to, where semantics do the common case themselves. */
  readonly routine?: string;
  /** The index register of the memory operand is a vector. */
  readonly vsib?: boolean;
  /** Arithmetic flags left undefined, as RFLAGS bits, for tests. */
  readonly undefinedFlags?: number;
  /** CPUID feature it belongs to; absent from the model means #UD. */
  readonly feature?: string;
  /** Which unit's availability it depends on: checked before anything else. */
  readonly unit?: 'x87' | 'mmx' | 'sse' | 'avx';
  /** A 16-byte memory operand need not be aligned, as it must with other legacy SSE instructions. */
  readonly unaligned?: boolean;
  /** Reads or writes chosen elements of its memory operand: alignment checking (#AC) does not apply. */
  readonly elementwise?: boolean;
}

export interface Row extends RowOptions {
  readonly mnemonic: string;
  readonly encodings: readonly string[];
  /** What it does; or the name of the system routine that does it. */
  readonly semantics: Semantics | string;
}

/** One row of the table. */
export function row(mnemonic: string, encodings: string | readonly string[], semantics: Semantics | string, options: RowOptions = {}): Row {
  return { mnemonic, encodings: typeof encodings === 'string' ? [encodings] : encodings, semantics, ...options };
}
