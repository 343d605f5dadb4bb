/** A decoded record as the system routines see it. One object serves all: set `record` first. */
import type { Encoding } from './isa/encoding.ts';
import type { Variant } from './ops.ts';
import * as L from './runtime/layout.ts';
import type { State } from './state.ts';

export class Instruction {
  readonly #state: State;
  record = 0;
  variant!: Variant;

  constructor(state: State) {
    this.#state = state;
  }

  get encoding(): Encoding {
    return this.variant.encoding;
  }
  get opcode(): number {
    return this.variant.encoding.opcode;
  }
  /** Operand size in bits. */
  get size(): 16 | 32 | 64 {
    return this.variant.operandSize;
  }
  get memory(): boolean {
    return this.variant.memory !== 'none';
  }
  get length(): number {
    return this.#state.view.getUint8(this.record + L.R_LENGTH);
  }
  get flags(): number {
    return this.#state.view.getUint8(this.record + L.R_FLAGS);
  }
  get segment(): number {
    return this.#state.view.getUint8(this.record + L.R_SEGMENT);
  }
  /** State address of the register in ModRM.reg; for S, C and D operands its number. */
  get reg(): number {
    return this.#state.u16(this.record + L.R_REG);
  }
  /** State address of the register in ModRM.rm. */
  get rm(): number {
    return this.#state.u16(this.record + L.R_RM);
  }
  get immediate(): number {
    return this.#state.u32(this.record + L.R_IMM);
  }
  /** High half of the immediate field: the selector of a far pointer. */
  get immediateHigh(): number {
    return this.#state.u32(this.record + L.R_IMM + 4);
  }
  get addressBits(): 16 | 32 | 64 {
    return this.flags & L.REC_ADDRESS_16 ? 16 : this.flags & L.REC_ADDRESS_32 ? 32 : 64;
  }
}
