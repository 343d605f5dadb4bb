import type { BusDevice, Width } from '../machine/bus.ts';

/** A device on an 8-bit bus: wider accesses reach it as consecutive byte accesses, low address first. */
export abstract class BytePorts implements BusDevice {
  /** Any offset may come, also beyond the last register: answer 0xff there. */
  protected abstract readByte(offset: number): number;
  protected abstract writeByte(offset: number, value: number): void;

  read(offset: number, width: Width): number {
    if (width === 1) return this.readByte(offset);
    let value = 0;
    for (let i = 0; i < width; i++) value |= this.readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    for (let i = 0; i < width; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff);
  }
}

/** A face made of two functions, for a chip that shows itself at several places of a bus. */
export class BytePort extends BytePorts {
  readonly #read: (offset: number) => number;
  readonly #write: (offset: number, value: number) => void;

  constructor(read: (offset: number) => number, write: (offset: number, value: number) => void) {
    super();
    this.#read = read;
    this.#write = write;
  }

  protected readByte(offset: number): number {
    return this.#read(offset);
  }

  protected writeByte(offset: number, value: number): void {
    this.#write(offset, value);
  }
}
