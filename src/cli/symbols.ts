/** Names of guest code from a file as Linux's System.map, /proc/kallsyms and nm write it: `ffffffff81000000 T _text`. */
import { VmError } from '../base/errors.ts';

interface Symbol {
  readonly address: bigint;
  readonly name: string;
  readonly code: boolean;
}

/** nm(1): in a text section, weak, or an indirect function. */
const CODE = /^[tTwWi]$/;
/** As far as the last symbol of a file is thought to reach: its size is not in the file. */
const LAST_BYTES = 4096n;

export class Symbols {
  readonly #symbols: readonly Symbol[];

  /** Throws VmError `bad-image` when no line is a symbol. @param name of the file, for errors */
  constructor(text: string, name: string) {
    const symbols: Symbol[] = [];
    for (const line of text.split('\n')) {
      const match = /^([0-9a-f]{1,16}) ([A-Za-z]) (\S+)/.exec(line);
      if (match) symbols.push({ address: BigInt(`0x${match[1]}`), code: CODE.test(match[2]!), name: match[3]! });
    }
    if (symbols.length === 0)
      throw new VmError('bad-image', `${name}: no symbols in it; expected lines such as "ffffffff81000000 T _text"`);
    if (symbols.every(({ address }) => address === 0n)) {
      throw new VmError('bad-image', `${name}: all addresses are 0, as /proc/kallsyms has it for those who are not root`);
    }
    // The sort is stable: of several names of one place, the first counts.
    this.#symbols = symbols.toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  }

  /** Such as `memcpy` or `memcpy+0x10`; undefined where there is no code that the file knows. */
  nameOf(address: bigint): string | undefined {
    const symbols = this.#symbols;
    // First index behind the address.
    let [low, high] = [0, symbols.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (symbols[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    let found = symbols[low - 1];
    if (!found || (low === symbols.length && address - found.address >= LAST_BYTES)) return undefined;
    for (let n = low - 2; n >= 0 && symbols[n]!.address === found.address; n--) found = symbols[n]!;
    if (!found.code) return undefined;
    const offset = address - found.address;
    return offset === 0n ? found.name : `${found.name}+0x${offset.toString(16)}`;
  }
}
