/** Machine code with labels, at a fixed place. */
import { le } from './bench.ts';

export class Label {
  at: number | undefined;
}

interface Fixup {
  readonly at: number;
  readonly label: Label;
  readonly bytes: 1 | 4 | 8;
  /** From where the distance counts; undefined: the address itself is wanted. */
  readonly from: number | undefined;
}

export class Assembler {
  readonly origin: number;
  readonly bytes: number[] = [];
  readonly #fixups: Fixup[] = [];

  constructor(origin: number) {
    this.origin = origin;
  }

  get here(): number {
    return this.origin + this.bytes.length;
  }

  put(...bytes: readonly number[]): void {
    this.bytes.push(...bytes);
  }

  place(label: Label): void {
    label.at = this.here;
  }

  /** Goes on at an address, with INT3 between. */
  skipTo(address: number): void {
    while (this.here < address) this.bytes.push(0xcc);
  }

  /** Bytes, then the distance to a label from behind what follows. */
  relative(bytes: readonly number[], label: Label, after: readonly number[] = []): void {
    this.put(...bytes);
    this.#fixups.push({ at: this.bytes.length, label, bytes: 4, from: this.here + 4 + after.length });
    this.put(0, 0, 0, 0, ...after);
  }

  /** A short branch: its label must be near. */
  short(opcode: number, label: Label): void {
    this.put(opcode);
    this.#fixups.push({ at: this.bytes.length, label, bytes: 1, from: this.here + 1 });
    this.put(0);
  }

  /** Bytes, then the address of a label. */
  absolute(bytes: readonly number[], label: Label, size: 4 | 8 = 8): void {
    this.put(...bytes);
    this.#fixups.push({ at: this.bytes.length, label, bytes: size, from: undefined });
    this.put(...le(0, size));
  }

  /** The code, with all labels in place. */
  finish(): readonly number[] {
    for (const { at, label, bytes, from } of this.#fixups) {
      if (label.at === undefined) throw new Error('bug: a label without a place');
      const value = from === undefined ? label.at : label.at - from;
      if (bytes === 1 && (value < -128 || value > 127)) throw new Error('bug: a short branch too far');
      le(BigInt.asUintN(64, BigInt(value)), bytes).forEach((byte, n) => (this.bytes[at + n] = byte));
    }
    return this.bytes;
  }
}
