/**
 * Random guest programs that look like compiled code and are nasty: functions of basic blocks with loops, reducible or
 * not, calls and returns that match or do not, jumps through tables, code that changes itself. They never end; whoever runs
 * them stops when there is enough.
 */
import { le } from '../engine/bench.ts';
import type { Random } from '../native/random.ts';
import { Assembler, Label } from '../engine/assembler.ts';
import { anyInstruction, flagSequence, loadRegister, plainInstruction } from './instructions.ts';
import * as A from './layout.ts';

export interface Program {
  readonly code: readonly number[];
  readonly landings: readonly number[];
  /** Addresses of 32-bit immediates. */
  readonly mutable: readonly number[];
}

interface Fun {
  readonly entry: Label;
  readonly blocks: readonly Label[];
}

const FUNCTIONS = 24;

export function generate(random: Random): Program {
  return new Generator(random).run();
}

class Generator {
  readonly #random: Random;
  readonly #a = new Assembler(A.CODE);
  readonly #functions: readonly Fun[];
  /** A word before each immediate that may change. */
  readonly #mutable: Label[] = [];
  /** Jump tables: behind the functions. */
  readonly #tables: { readonly at: Label; readonly to: readonly Label[] }[] = [];
  /** How much of everything the program has, in percent. */
  readonly #nastiness: number;

  constructor(random: Random) {
    this.#random = random;
    this.#nastiness = random.pick([0, 1, 3, 3, 10, 30]);
    this.#functions = Array.from({ length: FUNCTIONS }, () => {
      const blocks = Array.from({ length: random.chance(5) ? 40 + random.below(60) : 1 + random.below(10) }, () => new Label());
      return { entry: blocks[0]!, blocks };
    });
  }

  run(): Program {
    const a = this.#a;
    const random = this.#random;
    this.#functions.forEach((fun, n) => {
      // Spread over the pages, beginning anywhere.
      if (random.chance(30)) a.skipTo(a.here + random.below(700));
      this.#avoidPageEnd(64);
      this.#function(fun, n);
    });
    for (const { at, to } of this.#tables) {
      a.skipTo((a.here + 7) & ~7);
      a.place(at);
      for (const target of to) a.absolute([], target);
    }
    if (a.here > A.CODE + A.CODE_PAGES * A.PAGE) throw new Error('bug: the program is too large');
    const code = a.finish();
    return {
      code,
      landings: Array.from(
        { length: A.LANDING_COUNT },
        () => random.pick(random.pick(this.#functions).blocks).at! + (random.chance(10) ? A.ALIAS - A.CODE : 0),
      ),
      mutable: this.#mutable.map((label) => label.at!),
    };
  }

  /** Data among the code lies in the last bytes of each page; code crosses the border only now and then. */
  #avoidPageEnd(room: number): void {
    const a = this.#a;
    if (4096 - (a.here & 0xfff) < room && this.#random.chance(20)) a.skipTo((a.here & ~0xfff) + 0x1000);
  }

  #function(fun: Fun, number: number): void {
    const a = this.#a;
    const random = this.#random;
    const counter = random.below(32) * 4;
    fun.blocks.forEach((block, n) => {
      a.place(block);
      // mov dword [rbx+counter],n
      if (n === 0) a.put(0xc7, 0x43, counter, ...le(1 + random.below(random.pick([4, 40])), 4));
      for (let left = random.below(7); left > 0; left--) this.#instruction();
      this.#ending(fun, number, n, counter);
    });
    this.#return();
  }

  #instruction(): void {
    const a = this.#a;
    const random = this.#random;
    if (a.here > A.CODE + (A.CODE_PAGES * A.PAGE * 7) / 8) return;
    const nasty = random.chance(this.#nastiness);
    if (!nasty) {
      if (random.chance(15)) return flagSequence(a, random);
      if (random.chance(70)) return plainInstruction(a, random);
      return anyInstruction(a, random.u32(), random.chance(60));
    }
    switch (random.below(12)) {
      case 0: // int 80h
        return a.put(0x6a, random.below(16), 0x58, 0x31, 0xd2, 0xb2, random.below(256), 0xcd, A.SERVICE); // push; pop rax; xor edx,edx; mov dl
      case 1:
        return a.put(0x6a, random.below(16), 0x58, 0xba, ...le(random.below(0x10000), 4), 0x0f, 0x05); // syscall
      case 2:
      case 3:
        return this.#selfModification();
      case 4:
        return a.put(0x0f, 0x31);
      case 5: // the device
        return random.chance(50) ? a.put(0x8b, 0x04, 0x25, ...le(A.DEVICE, 4)) : a.put(0x89, 0x04, 0x25, ...le(A.DEVICE, 4));
      case 6:
        return a.put(...random.pick([[0xfa], [0xfb], [0xfb, 0x90], [0xf4 ^ 0x64], [0x0f, 0x0b], [0xcc], [0x0f, 0xa2], [0x0f, 0x06]]));
      case 7: // popf with any flags
        return a.put(0x68, ...le(random.chance(20) ? random.below(0x4000) : random.below(0x1000) & 0xcff, 4), 0x9d);
      case 8: {
        // A string instruction
        loadRegister(a, 1, BigInt(random.below(random.pick([3, 70, 600]))));
        if (random.chance(30)) loadRegister(a, 7, BigInt(A.CODE + random.below(A.CODE_PAGES) * A.PAGE + 0xfe0));
        return a.put(random.pick([0xf3, 0xf3, 0xf2]), ...(random.chance(40) ? [0x48] : []), random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xa6, 0xa7, 0xae, 0xaf]), 0xbf, ...le(A.dataPage(2) - 0x40, 4), 0xbe, ...le(A.dataPage(1), 4)); // prettier-ignore
      }
      case 9: // wrgsbase or wrfsbase rbx, and accesses with it
        return random.chance(50)
          ? a.put(0xf3, 0x48, 0x0f, 0xae, random.pick([0xd3, 0xdb]))
          : a.put(random.pick([0x64, 0x65]), 0x48, random.pick([0x8b, 0x89, 0x01]), 0x04, 0x25, ...le(random.below(0x400), 4));
      case 10: {
        const label = new Label();
        a.place(label);
        this.#mutable.push(label);
        label.at = a.here + 1;
        return a.put(0xb8 + random.below(3), ...le(random.u32(), 4));
      }
      default:
        return a.put(0x66, 0x90, 0xf0, 0x48, 0x0f, 0xc7, 0x0b); // nop; lock cmpxchg16b [rbx]
    }
  }

  /** A store over an immediate: of the next instruction, of a later one, or of one that has run. */
  #selfModification(): void {
    const a = this.#a;
    const random = this.#random;
    const immediate = new Label();
    const store = random.pick([[0xfe, 0x05], [0xff, 0x05], [0xf0, 0xff, 0x05], [0x00, 0x05], [0x28, 0x05], [0x01, 0x05]]); // prettier-ignore
    const place = (): void => {
      immediate.at = a.here + 1;
      a.put(0xb8 + random.below(3), ...le(random.u32(), 4));
      this.#mutable.push(immediate);
    };
    if (random.chance(50)) {
      a.relative(store, immediate);
      for (let n = random.chance(50) ? 0 : random.below(3); n > 0; n--) plainInstruction(a, random);
      place();
    } else if (random.chance(50) || this.#mutable.length === 0) {
      place();
      for (let n = random.below(3); n > 0; n--) plainInstruction(a, random);
      a.relative(store, immediate);
    } else if (random.chance(70)) a.relative(store, random.pick(this.#mutable));
    else {
      // Through the other mapping
      const alias = new Label();
      alias.at = random.pick(this.#mutable).at! + A.ALIAS - A.CODE;
      a.absolute([0xff, 0x04, 0x25], alias, 4);
    }
  }

  #return(): void {
    const a = this.#a;
    const random = this.#random;
    if (random.chance(92)) return a.put(0xc3);
    switch (random.below(4)) {
      case 0:
        return a.put(0xc2, random.below(3) * 8, 0);
      case 1:
        return a.put(0x59, 0xff, 0xe1); // pop rcx; jmp rcx
      case 2: // not to where it was called from
        a.absolute([0x68], random.pick(random.pick(this.#functions).blocks), 4);
        return a.put(0xc3);
      default:
        return a.put(0x48, 0x83, 0xc4, 0x08, 0xc3); // to the caller's caller
    }
  }

  /** What ends block `n`: mostly a branch, back or forth; it may also fall through. */
  #ending(fun: Fun, number: number, n: number, counter: number): void {
    const a = this.#a;
    const random = this.#random;
    const any = random.pick(fun.blocks);
    const later = fun.blocks[n + 1 + random.below(fun.blocks.length - n)];
    const kind = random.below(100);
    if (kind < 30) {
      if (later) a.relative([0x0f, 0x80 | random.below(16)], later);
    } else if (kind < 45) {
      a.put(0xff, 0x4b, counter); // dec dword [rbx+counter]
      a.relative([0x0f, random.pick([0x85, 0x85, 0x8f, 0x89])], any);
    } else if (kind < 52) a.relative([0x0f, 0x80 | random.below(16)], any);
    else if (kind < 53) {
      for (let left = random.below(4); left > 0; left--) a.put(0x70 | random.below(16), 0x00); // to the next instruction, in any case
    } else if (kind < 54) {
      // Into the middle of an instruction
      a.put(0x70 | random.below(16), 0x02, 0x81, 0xc0 | random.below(3), random.pick([0x90, 0xf8, 0xf9, 0x40]), 0xff, 0xc0, 0x90);
    } else if (kind < 56) {
      const over = new Label();
      a.short(random.pick([0xe0, 0xe1, 0xe2, 0xe3]), over);
      for (let left = random.below(3); left > 0; left--) a.put(0x48, 0xff, 0xc0 + random.below(3));
      a.place(over);
    } else if (kind < 60) {
      if (later) a.relative([0xe9], later);
    } else if (kind < 75) {
      const callee = random.chance(8)
        ? fun
        : random.chance(85)
          ? this.#functions[number + 1 + random.below(FUNCTIONS - number)]
          : random.pick(this.#functions);
      if (callee) a.relative([0xe8], callee.entry);
    } else if (kind < 80) {
      // Through a table, by a register: some of its targets are seen through the other mapping.
      const calls = random.chance(50);
      const to = Array.from({ length: 4 }, () => (calls ? random.pick(this.#functions).entry : random.pick(fun.blocks)));
      const at = new Label();
      this.#tables.push({ at, to });
      a.put(0x83, 0xe0, 0x03); // and eax,3
      a.absolute([0x48, 0x8b, 0x14, 0xc5], at, 4); // mov rdx,[table+rax*8]
      if (random.chance(15)) a.put(0x48, 0x81, 0xc2, ...le(A.ALIAS - A.CODE, 4));
      if (random.chance(30)) a.put(0x0f, 0xb6, 0xc0 | random.below(3)); // movzx eax
      a.put(0xff, (calls ? 0xd0 : 0xe0) | 2);
    } else if (kind < 83) {
      const to = random.pick(this.#functions).entry;
      const at = new Label();
      this.#tables.push({ at, to: [to] });
      a.absolute([0xff, random.chance(80) ? 0x14 : 0x24, 0x25], at, 4); // call or jmp [table]
    } else if (kind < 86) this.#return();
    this.#avoidPageEnd(16);
  }
}
