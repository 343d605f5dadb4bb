import type { Case, Mode, Patch } from '../native/case.ts';
import { CODE_LOW, CODE_SIZE, DATA_LOW, GUARD_PAGE, HIGH, LAST_PAGE, PAGE, READ_ONLY_PAGE } from '../native/layout.ts';
import type { Flavour, Random } from '../native/random.ts';
import { randomFlags } from '../native/state.ts';

export const RSP = 4;
const DATA_END = 5 * PAGE;

/** FP states and images that the cases of a batch draw from. */
export interface Pools {
  readonly fp: (flavour: Flavour) => Uint8Array;
  readonly image: () => Uint8Array;
}

/** One case while it is being made: code is appended, and registers and memory are set so that it has something to do. */
export class CaseBuilder {
  readonly random: Random;
  readonly mode: Mode;
  readonly flavour: Flavour;
  readonly gprs = new BigUint64Array(16);
  readonly #words = new Uint32Array(this.gprs.buffer);
  readonly #patches: Patch[] = [];
  readonly #bytes: number[] = [];
  readonly fp: Uint8Array;
  readonly #image: Uint8Array;
  /** Mapping of the code: 0 or `HIGH`. */
  readonly mapping: number;
  readonly rip: number;
  rflags: number;
  fsBase: bigint;
  gsBase: bigint;

  constructor(random: Random, mode: Mode, flavour: Flavour, pools: Pools) {
    this.random = random;
    this.mode = mode;
    this.flavour = flavour;
    for (let i = 0; i < 32; i += 2) random.integer(this.#words, i);
    this.fp = pools.fp(flavour);
    this.#image = pools.image();
    this.rflags = randomFlags(random);
    this.mapping = mode === 64 && random.chance(30) ? HIGH : 0;
    const offset = random.chance(5)
      ? PAGE - 1 - random.below(15)
      : random.chance(2)
        ? CODE_SIZE - 1 - random.below(30)
        : random.below(7000);
    this.rip = mode === 16 ? offset : this.mapping + CODE_LOW + offset;
    this.fsBase = this.#segmentBase();
    this.gsBase = this.#segmentBase();
    if (random.chance(90)) this.gprs[RSP] = this.stackTarget();
    if (random.chance(50)) this.gprs[5] = this.stackTarget();
  }

  /** Address of the next byte of code. */
  get here(): number {
    return this.rip + this.#bytes.length;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Room for `length` more bytes on the code pages. */
  hasRoom(length: number): boolean {
    const offset = this.mode === 16 ? this.rip : this.rip - this.mapping - CODE_LOW;
    return offset + this.#bytes.length + length <= CODE_SIZE;
  }

  emit(bytes: readonly number[]): void {
    this.#bytes.push(...bytes);
  }

  /** Puts bytes into the data window at a linear address, when they lie in it. */
  patch(address: bigint, bytes: Uint8Array): void {
    const low = address - BigInt(address >= BigInt(HIGH) ? HIGH : 0) - BigInt(DATA_LOW);
    if (low < 0n || low + BigInt(bytes.length) > BigInt(DATA_END)) return;
    this.#patches.push({ offset: Number(low), bytes });
  }

  patchValue(address: bigint, value: bigint, length: number): void {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 0xffn);
    this.patch(address, bytes);
  }

  /** Linear address for an access of `bytes`: mostly good, often at an edge. `wide`: beyond 32 bits is reachable. */
  target(bytes: number, wide: boolean): bigint {
    const { random } = this;
    const base = BigInt(DATA_LOW + (wide && random.chance(50) ? HIGH : 0));
    const boundary = (page: number): bigint => base + BigInt(page * PAGE - 1 - random.below(Math.max(1, bytes - 1)));
    const kind = random.below(100);
    if (kind < 72) {
      const align = random.chance(bytes >= 16 ? 80 : 50) ? Math.max(1, 1 << (31 - Math.clz32(bytes))) : 1;
      const page = random.chance(70) ? 0 : LAST_PAGE;
      const room = (page === 0 ? 2 * PAGE : PAGE) - bytes;
      return base + BigInt(page * PAGE + Math.floor(random.below(room) / align) * align);
    }
    if (kind < 82) return boundary(1);
    if (kind < 87) return base + BigInt(READ_ONLY_PAGE * PAGE + random.below(PAGE - bytes));
    if (kind < 90) return boundary(READ_ONLY_PAGE);
    if (kind < 92) return boundary(GUARD_PAGE);
    if (kind < 94) return boundary(LAST_PAGE);
    if (kind < 95) return boundary(0);
    if (kind < 97) return boundary(5);
    if (kind < 98) return base + BigInt(GUARD_PAGE * PAGE + random.below(PAGE));
    if (!wide) return random.bigint(32);
    return kind === 98 ? 0x8000_0000_0000n - BigInt(random.below(bytes + 2)) : random.bigint(64);
  }

  /** A value for the stack pointer: room on both sides, seldom at an edge. */
  stackTarget(): bigint {
    const { random } = this;
    const wide = this.mode === 64;
    const address = random.chance(85) ? this.#inside() + BigInt(wide && random.chance(50) ? HIGH : 0) : this.target(8, wide);
    return this.mode === 16 ? (address - BigInt(DATA_LOW)) & 0xffffn : address;
  }

  #inside(): bigint {
    return BigInt(DATA_LOW + 64 + this.random.below(2 * PAGE - 128)) & (this.random.chance(80) ? -8n : -1n);
  }

  #segmentBase(): bigint {
    const { random, mode } = this;
    if (random.chance(60)) return BigInt(DATA_LOW + (mode === 64 && random.chance(40) ? HIGH : 0) + random.below(2) * random.below(PAGE));
    const base = random.bigint(mode === 64 ? 47 : 32);
    return mode === 64 && random.chance(20) ? BigInt.asUintN(64, ~base) : base;
  }

  finish(): Case {
    // Outside 64-bit code the upper halves are lost sooner or later.
    if (this.mode !== 64) for (let i = 0; i < 16; i++) this.gprs[i]! &= 0xffff_ffffn;
    return {
      mode: this.mode,
      code: Uint8Array.from(this.#bytes),
      rip: this.rip,
      gprs: this.gprs,
      rflags: this.rflags,
      fsBase: this.fsBase,
      gsBase: this.gsBase,
      fp: this.fp,
      image: this.#image,
      patches: this.#patches,
    };
  }
}
