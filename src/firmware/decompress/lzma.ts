/**
 * LZMA: range decoder, literals, matches. LZMA specification (7-Zip SDK, lzma-specification.txt).
 *
 * `decode` is one long function on purpose: range, code and positions stay in machine registers, and the step for
 * one bit is written out at each place. As method calls it took more than twice the time on a 60 MB kernel.
 */
import { Malformed, type Output } from './output.ts';

const STATES = 12;
const POS_STATES_MAX = 16;
const LITERAL_SIZE = 0x300;
const FIRST_LONG_SLOT = 14;
const MIN_MATCH = 2;
const TOP = 1 << 24;
const HALF = 1024;
const END_MARKER = 0xffff_ffff;

// Where each model's probabilities begin in one array.
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES_MAX;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const POS_SLOT = IS_REP0_LONG + STATES * POS_STATES_MAX;
const POS_SPECIAL = POS_SLOT + 4 * 64;
const ALIGN = POS_SPECIAL + 128;
const MATCH_LENGTH = ALIGN + 16;
// Within a length model: two choice bits, then trees of 3, 3 and 8 bits.
const LENGTH_LOW = 2;
const LENGTH_MID = LENGTH_LOW + POS_STATES_MAX * 8;
const LENGTH_HIGH = LENGTH_MID + POS_STATES_MAX * 8;
const LENGTH_SIZE = LENGTH_HIGH + 256;
const REP_LENGTH = MATCH_LENGTH + LENGTH_SIZE;
const LITERALS = REP_LENGTH + LENGTH_SIZE;

export class LzmaDecoder {
  #lc = 0;
  #lpMask = 0;
  #posMask = 0;
  #probs = new Uint16Array(0);
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #range = 0;
  #code = 0;
  /** What is left of a match that did not fit below `limit`. */
  pendingLength = 0;
  ended = false;

  /** `byte` packs lc, lp and pb: (pb * 5 + lp) * 9 + lc; `maxLiteralBits` bounds lc + lp. Resets everything. */
  setProperties(byte: number, maxLiteralBits: number): void {
    if (byte >= 9 * 5 * 5) throw new Malformed(`has impossible properties ${byte}`);
    this.#lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    this.#lpMask = (1 << lp) - 1;
    this.#posMask = (1 << Math.floor(byte / 45)) - 1;
    if (this.#lc + lp > maxLiteralBits) throw new Malformed(`has impossible properties ${byte}`);
    const size = LITERALS + LITERAL_SIZE * 2 ** (this.#lc + lp);
    if (this.#probs.length !== size) this.#probs = new Uint16Array(size);
    this.reset();
  }

  reset(): void {
    if (this.#probs.length === 0) throw new Malformed('begins without properties');
    this.#probs.fill(HALF);
    this.#state = this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
    this.pendingLength = 0;
    this.ended = false;
  }

  /** Reads the five bytes that begin a range-coded stretch; answers where it goes on. */
  start(data: Uint8Array, at: number): number {
    if (at + 5 > data.length) throw new Malformed('is cut off');
    if (data[at] !== 0) throw new Malformed('has a range coder that does not begin with 0');
    this.#range = 0xffff_ffff;
    this.#code = ((data[at + 1]! << 24) | (data[at + 2]! << 16) | (data[at + 3]! << 8) | data[at + 4]!) >>> 0;
    return at + 5;
  }

  /**
   * Decodes until `limit` bytes are in `output` (which has room) or the end marker. Matches reach back to `dictionary`.
   * Answers where in `data` the next byte would be read.
   */
  decode(data: Uint8Array, from: number, dataEnd: number, output: Output, dictionary: number, limit: number): number {
    const probs = this.#probs;
    const out = output.bytes;
    const { imul } = Math;
    const lc = this.#lc;
    const lpMask = this.#lpMask;
    const posMask = this.#posMask;
    let { length: to } = output;
    let at = from;
    let range = this.#range;
    let code = this.#code;
    let state = this.#state;
    let rep0 = this.#rep0;
    let rep1 = this.#rep1;
    let rep2 = this.#rep2;
    let rep3 = this.#rep3;
    let length = this.pendingLength;
    let index = 0;
    let p = 0;
    let bound = 0;

    for (;;) {
      if (length > 0) {
        const distance = rep0 + 1;
        if (distance > to - dictionary) throw new Malformed(`refers ${distance} bytes back, before its beginning`);
        const end = Math.min(to + length, limit);
        length -= end - to;
        if (distance === 1) {
          out.fill(out[to - 1]!, to, end);
          to = end;
        } else {
          for (let source = to - distance; to < end;) out[to++] = out[source++]!;
        }
      }
      if (to >= limit) break;
      if (at > dataEnd) throw new Malformed('is cut off');

      const posState = (to - dictionary) & posMask;
      index = IS_MATCH + (state << 4) + posState;
      p = probs[index]!;
      bound = imul(range >>> 11, p) >>> 0;
      if (code < bound) {
        range = bound;
        probs[index] = p + ((2048 - p) >> 5);
        if (range < TOP) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | data[at++]!) >>> 0;
        }
        // A literal.
        const previous = to > dictionary ? out[to - 1]! : 0;
        const model = LITERALS + LITERAL_SIZE * ((((to - dictionary) & lpMask) << lc) + (previous >> (8 - lc)));
        let symbol = 1;
        if (state >= 7) {
          // After a match: predicted by the byte that would have continued it, until they differ.
          let matched = to > dictionary + rep0 ? out[to - rep0 - 1]! : 0;
          let offset = 0x100;
          do {
            matched <<= 1;
            const matchBit = matched & offset;
            index = model + offset + matchBit + symbol;
            p = probs[index]!;
            bound = imul(range >>> 11, p) >>> 0;
            if (code < bound) {
              range = bound;
              probs[index] = p + ((2048 - p) >> 5);
              symbol <<= 1;
              offset &= ~matchBit;
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probs[index] = p - (p >> 5);
              symbol = (symbol << 1) | 1;
              offset &= matchBit;
            }
            if (range < TOP) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | data[at++]!) >>> 0;
            }
          } while (symbol < 0x100);
        } else {
          do {
            index = model + symbol;
            p = probs[index]!;
            bound = imul(range >>> 11, p) >>> 0;
            if (code < bound) {
              range = bound;
              probs[index] = p + ((2048 - p) >> 5);
              symbol <<= 1;
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probs[index] = p - (p >> 5);
              symbol = (symbol << 1) | 1;
            }
            if (range < TOP) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | data[at++]!) >>> 0;
            }
          } while (symbol < 0x100);
        }
        out[to++] = symbol;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      range = (range - bound) >>> 0;
      code = (code - bound) >>> 0;
      probs[index] = p - (p >> 5);
      if (range < TOP) {
        range = (range << 8) >>> 0;
        code = ((code << 8) | data[at++]!) >>> 0;
      }

      // A match. First the run of decisions of which kind: each row of the loop is one bit.
      // kind: 0 new distance, 1 short repeat, 2 to 5 repeat of rep0 to rep3.
      let kind = -1;
      index = IS_REP + state;
      for (let step = 0; kind < 0;) {
        let bit = 0;
        p = probs[index]!;
        bound = imul(range >>> 11, p) >>> 0;
        if (code < bound) {
          range = bound;
          probs[index] = p + ((2048 - p) >> 5);
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probs[index] = p - (p >> 5);
          bit = 1;
        }
        if (range < TOP) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | data[at++]!) >>> 0;
        }
        if (step === 0) {
          if (bit === 0) kind = 0;
          else index = IS_REP0 + state;
          step = 1;
        } else if (step === 1) {
          index = bit === 0 ? IS_REP0_LONG + (state << 4) + posState : IS_REP1 + state;
          step = bit === 0 ? 2 : 3;
        } else if (step === 2) {
          kind = bit === 0 ? 1 : 2;
        } else if (step === 3) {
          if (bit === 0) kind = 3;
          else index = IS_REP2 + state;
          step = 4;
        } else {
          kind = bit === 0 ? 4 : 5;
        }
      }
      if (kind === 1) {
        state = state < 7 ? 9 : 11;
        length = 1;
        continue;
      }
      if (kind >= 3) {
        const distance = kind === 3 ? rep1 : kind === 4 ? rep2 : rep3;
        if (kind === 5) rep3 = rep2;
        if (kind >= 4) rep2 = rep1;
        rep1 = rep0;
        rep0 = distance;
      }

      // The length: up to two choice bits, then a tree.
      const lengths = kind === 0 ? MATCH_LENGTH : REP_LENGTH;
      let tree = lengths + LENGTH_LOW + (posState << 3);
      let leaves = 8;
      let base = MIN_MATCH;
      for (let choice = 0; choice < 2; choice++) {
        index = lengths + choice;
        p = probs[index]!;
        bound = imul(range >>> 11, p) >>> 0;
        let bit = 0;
        if (code < bound) {
          range = bound;
          probs[index] = p + ((2048 - p) >> 5);
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probs[index] = p - (p >> 5);
          bit = 1;
        }
        if (range < TOP) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | data[at++]!) >>> 0;
        }
        if (bit === 0) break;
        base += 8;
        leaves = choice === 0 ? 8 : 256;
        tree = choice === 0 ? lengths + LENGTH_MID + (posState << 3) : lengths + LENGTH_HIGH;
      }
      let symbol = 1;
      do {
        index = tree + symbol;
        p = probs[index]!;
        bound = imul(range >>> 11, p) >>> 0;
        if (code < bound) {
          range = bound;
          probs[index] = p + ((2048 - p) >> 5);
          symbol <<= 1;
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probs[index] = p - (p >> 5);
          symbol = (symbol << 1) | 1;
        }
        if (range < TOP) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | data[at++]!) >>> 0;
        }
      } while (symbol < leaves);
      length = base + symbol - leaves;
      if (kind !== 0) {
        state = state < 7 ? 8 : 11;
        continue;
      }

      // A new distance: a slot, then direct and modelled low bits.
      state = state < 7 ? 7 : 10;
      rep3 = rep2;
      rep2 = rep1;
      rep1 = rep0;
      tree = POS_SLOT + (Math.min(length - MIN_MATCH, 3) << 6);
      symbol = 1;
      do {
        index = tree + symbol;
        p = probs[index]!;
        bound = imul(range >>> 11, p) >>> 0;
        if (code < bound) {
          range = bound;
          probs[index] = p + ((2048 - p) >> 5);
          symbol <<= 1;
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probs[index] = p - (p >> 5);
          symbol = (symbol << 1) | 1;
        }
        if (range < TOP) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | data[at++]!) >>> 0;
        }
      } while (symbol < 64);
      const slot = symbol - 64;
      if (slot < 4) {
        rep0 = slot;
        continue;
      }
      let lowBits = (slot >> 1) - 1;
      let distance = 2 | (slot & 1);
      if (slot < FIRST_LONG_SLOT) {
        distance <<= lowBits;
        tree = POS_SPECIAL + distance - slot;
      } else {
        for (lowBits -= 4; lowBits > 0; lowBits--) {
          range >>>= 1;
          if (code >= range) {
            code = (code - range) >>> 0;
            distance = (distance << 1) | 1;
          } else distance <<= 1;
          if (range < TOP) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | data[at++]!) >>> 0;
          }
        }
        lowBits = 4;
        distance <<= 4;
        tree = ALIGN;
      }
      symbol = 1;
      for (let bit = 0; bit < lowBits; bit++) {
        index = tree + symbol;
        p = probs[index]!;
        bound = imul(range >>> 11, p) >>> 0;
        if (code < bound) {
          range = bound;
          probs[index] = p + ((2048 - p) >> 5);
          symbol <<= 1;
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probs[index] = p - (p >> 5);
          symbol = (symbol << 1) | 1;
          distance += 1 << bit;
        }
        if (range < TOP) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | data[at++]!) >>> 0;
        }
      }
      rep0 = distance >>> 0;
      if (rep0 === END_MARKER) {
        this.ended = true;
        length = 0;
        break;
      }
    }

    if (at > dataEnd) throw new Malformed('is cut off');
    output.length = to;
    this.#range = range;
    this.#code = code;
    this.#state = state;
    this.#rep0 = rep0;
    this.#rep1 = rep1;
    this.#rep2 = rep2;
    this.#rep3 = rep3;
    this.pendingLength = length;
    return at;
  }
}
