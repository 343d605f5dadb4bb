/** A function's 256 bytes of configuration space, with a type 0 header. PCI Local Bus Specification 3.0, chapter 6. */
import { assert, VmError } from '../../base/errors.ts';
import type { BusDevice, Width } from '../../machine/bus.ts';
import type { Field } from '../../machine/state.ts';
import {
  BAR0,
  BAR_64BIT,
  BAR_IO,
  BAR_PREFETCHABLE,
  CACHE_LINE_SIZE,
  CAPABILITIES,
  CLASS_CODE,
  COMMAND,
  COMMAND_INTX_DISABLE,
  COMMAND_IO,
  COMMAND_MASTER,
  COMMAND_MEMORY,
  COMMAND_PARITY,
  COMMAND_SERR,
  CONFIG_SIZE,
  DEVICE_ID,
  FIRST_CAPABILITY,
  HEADER_MULTIFUNCTION,
  HEADER_TYPE,
  INTERRUPT_LINE,
  INTERRUPT_PIN,
  LATENCY_TIMER,
  REVISION_ID,
  STATUS,
  STATUS_CAPABILITIES,
  STATUS_INTERRUPT,
  SUBSYSTEM_ID,
  SUBSYSTEM_VENDOR_ID,
  VENDOR_ID,
} from './registers.ts';

const FOUR_GIB = 0x1_0000_0000;

/** What a function says it is. */
export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  /** Base class, subclass and programming interface: 0xBBSSPP. */
  readonly classCode: number;
  readonly revision?: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** 1 to 4 for INTA to INTD; 0, the default, for a function without one. */
  readonly interruptPin?: number;
}

/** One base address register and what answers behind it. A 64-bit one takes the register after it too. */
export interface BarSpec {
  readonly index: number;
  readonly kind: 'io' | 'mem32' | 'mem64';
  /** A power of two: at least 4 for I/O and 16 for memory. */
  readonly size: number;
  readonly prefetchable?: boolean;
  readonly device: BusDevice;
}

/**
 * Bytes, and for each which bits software can change. A BAR's size follows from its unchangeable low bits, so
 * sizing needs no code of its own.
 */
export class ConfigSpace {
  /** The bytes as a field of the owner's state. Refuses bytes whose unchangeable bits are another function's. */
  readonly field: Field<Uint8Array>;
  readonly bytes: Uint8Array;
  readonly #initial = new Uint8Array(CONFIG_SIZE);
  readonly #writable = new Uint8Array(CONFIG_SIZE);
  #nextCapability = FIRST_CAPABILITY;
  #lastPointer = CAPABILITIES;

  constructor(identity: PciIdentity, bars: readonly BarSpec[]) {
    this.bytes = new Uint8Array(CONFIG_SIZE);
    this.define(VENDOR_ID, 2, identity.vendorId);
    this.define(DEVICE_ID, 2, identity.deviceId);
    this.define(COMMAND, 2, 0, COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE);
    this.define(REVISION_ID, 1, identity.revision ?? 0);
    this.define(CLASS_CODE, 1, identity.classCode & 0xff);
    this.define(CLASS_CODE + 1, 2, identity.classCode >>> 8);
    this.define(CACHE_LINE_SIZE, 1, 0, 0xff);
    this.define(LATENCY_TIMER, 1, 0, 0xff);
    this.define(SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendorId ?? 0);
    this.define(SUBSYSTEM_ID, 2, identity.subsystemId ?? 0);
    this.define(INTERRUPT_LINE, 1, 0, 0xff);
    this.define(INTERRUPT_PIN, 1, identity.interruptPin ?? 0);
    for (const bar of bars) this.#defineBar(bar);
    this.field = {
      describe: `bytes(${CONFIG_SIZE})`,
      create: () => this.#initial.slice(),
      save: (value) => value.slice(),
      load: (data, path) => this.#load(data, path),
    };
  }

  /** Sets a register's value after reset and the bits of it that software may change. Only while constructing. */
  define(offset: number, width: Width, initial: number, writable = 0): void {
    for (let i = 0; i < width; i++) {
      this.#initial[offset + i] = initial >>> (8 * i);
      this.bytes[offset + i] = initial >>> (8 * i);
      this.#writable[offset + i] = writable >>> (8 * i);
    }
  }

  /** Appends a capability (`body` starts after the next pointer) and answers its offset. Only while constructing. */
  addCapability(id: number, body: Uint8Array, writable?: Uint8Array): number {
    const offset = this.#nextCapability;
    const size = 2 + body.length;
    assert(offset + size <= CONFIG_SIZE, 'no room for another PCI capability');
    this.define(this.#lastPointer, 1, offset);
    this.define(offset, 1, id);
    body.forEach((value, i) => this.define(offset + 2 + i, 1, value, writable?.[i] ?? 0));
    this.define(STATUS, 2, STATUS_CAPABILITIES);
    this.#lastPointer = offset + 1;
    this.#nextCapability = (offset + size + 3) & ~3;
    return offset;
  }

  setMultifunction(): void {
    this.define(HEADER_TYPE, 1, HEADER_MULTIFUNCTION);
  }

  #defineBar({ index, kind, size, prefetchable }: BarSpec): void {
    const offset = BAR0 + 4 * index;
    const least = kind === 'io' ? 4 : 16;
    assert(index >= 0 && index + (kind === 'mem64' ? 2 : 1) <= 6, `BAR ${index} does not exist`);
    assert(size >= least && Number.isInteger(Math.log2(size)), `BAR ${index} cannot be ${size} bytes`);
    assert(kind === 'mem64' || size < FOUR_GIB, `BAR ${index} is too big for 32 bits`);
    const flags = kind === 'io' ? BAR_IO : (kind === 'mem64' ? BAR_64BIT : 0) | (prefetchable ? BAR_PREFETCHABLE : 0);
    this.define(offset, 4, flags, size >= FOUR_GIB ? 0 : ~(size - 1));
    if (kind === 'mem64') this.define(offset + 4, 4, 0, size >= FOUR_GIB ? ~(size / FOUR_GIB - 1) : ~0);
    this.#writable[COMMAND]! |= kind === 'io' ? COMMAND_IO : COMMAND_MEMORY;
  }

  #load(data: unknown, path: string): Uint8Array {
    if (!(data instanceof Uint8Array) || data.length !== CONFIG_SIZE) {
      throw new VmError('bad-state', `${path}: expected ${CONFIG_SIZE} bytes`);
    }
    for (let i = 0; i < CONFIG_SIZE; i++) {
      const fixed = ~this.#writable[i]! & 0xff & (i === STATUS ? ~STATUS_INTERRUPT : 0xff);
      if ((data[i]! ^ this.#initial[i]!) & fixed) {
        throw new VmError('bad-state', `${path}: byte 0x${i.toString(16)} is of another PCI function`);
      }
    }
    return data.slice();
  }

  /** Takes over bytes that a reset or restore put into the owner's state; answers the array that is live from now on. */
  adopt(fresh: Uint8Array): Uint8Array {
    if (fresh !== this.bytes) this.bytes.set(fresh);
    return this.bytes;
  }

  get16(offset: number): number {
    return this.bytes[offset]! | (this.bytes[offset + 1]! << 8);
  }

  get32(offset: number): number {
    return (this.get16(offset) | (this.get16(offset + 2) << 16)) >>> 0;
  }

  /** Bytes past the end read as all ones: a conventional function has no extended space. */
  read(offset: number, width: Width): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = (value << 8) | (this.bytes[offset + i] ?? 0xff);
    return value >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    for (let i = 0; i < width && offset + i < CONFIG_SIZE; i++) {
      const mask = this.#writable[offset + i]!;
      this.bytes[offset + i] = (this.bytes[offset + i]! & ~mask) | ((value >>> (8 * i)) & mask);
    }
  }

  /** The interrupt status bit, which software only reads. */
  setInterruptStatus(pending: boolean): void {
    this.bytes[STATUS] = (this.bytes[STATUS]! & ~STATUS_INTERRUPT) | (pending ? STATUS_INTERRUPT : 0);
  }
}
