/** PS/2 keyboard, scan code sets 2 and 1. IBM PS/2 Technical Reference, "Keyboard (101- and 102-key)". */
import { list, struct, u8 } from '../machine/state.ts';
import type { Field } from '../machine/state.ts';
import { translateScancode } from './scancodes.ts';

const ACK = 0xfa;
const RESEND = 0xfe;
const ECHO = 0xee;
const SELF_TEST_PASSED = 0xaa;

/** Scan code bytes that wait for the guest; a whole key is dropped when it does not fit. */
const KEY_BUFFER = 256;

export const keyboardFields = struct({
  /** A command that expects a parameter, or 0. */
  command: u8(),
  scancodeSet: u8(2),
  leds: u8(),
  typematic: u8(0x2b),
  /** 1 while keys are scanned. */
  scanning: u8(1),
  lastSent: u8(),
  /** 0xf0 has been seen by the keyboard's own translation to set 1. */
  breaking: u8(),
  replies: list(16, u8()),
  keys: list(KEY_BUFFER, u8()),
});

type KeyboardState = typeof keyboardFields extends Field<infer T> ? T : never;

export class Ps2Keyboard {
  readonly #state: () => KeyboardState;
  readonly #leds: (bits: number) => void;

  /** @param leds told the LEDs as the guest sets them: 1 scroll, 2 num, 4 caps */
  constructor(state: () => KeyboardState, leds: (bits: number) => void) {
    this.#state = state;
    this.#leds = leds;
  }

  /** A key went down or up: the whole sequence of its bytes in set 2. */
  key(sequence: readonly number[]): void {
    const state = this.#state();
    if (!state.scanning || state.keys.length + sequence.length > KEY_BUFFER) return;
    for (const byte of sequence) {
      if (state.scancodeSet !== 1) state.keys.push(byte);
      else if (byte === 0xf0) state.breaking = 0x80;
      else {
        state.keys.push(byte === 0xe0 || byte === 0xe1 ? byte : translateScancode(byte) | state.breaking);
        state.breaking = byte === 0xe0 || byte === 0xe1 ? state.breaking : 0;
      }
    }
  }

  /** The next byte for the controller, or -1. */
  take(): number {
    const state = this.#state();
    const byte = state.replies.shift() ?? state.keys.shift();
    if (byte === undefined) return -1;
    state.lastSent = byte;
    return byte;
  }

  /** A byte from the controller. */
  receive(byte: number): void {
    const state = this.#state();
    const { command } = state;
    state.command = 0;
    // A command may come instead of a parameter: LED states, rates and sets are below it.
    if (command !== 0 && byte < 0xed) this.#parameter(command, byte);
    else this.#command(byte);
  }

  #reply(...bytes: number[]): void {
    this.#state().replies = bytes;
  }

  #setDefaults(): void {
    const state = this.#state();
    state.typematic = 0x2b;
    state.scancodeSet = 2;
    state.keys = [];
    state.breaking = 0;
  }

  #command(byte: number): void {
    const state = this.#state();
    switch (byte) {
      case 0xed: // set LEDs
      case 0xf0: // select scan code set
      case 0xf3: // set typematic rate
      case 0xfb: // set 3: key type, for a list of keys
      case 0xfc:
      case 0xfd:
        state.command = byte;
        this.#reply(ACK);
        break;
      case ECHO:
        this.#reply(ECHO);
        break;
      case 0xf2: // identify
        this.#reply(ACK, 0xab, 0x83);
        break;
      case 0xf4: // enable
        state.scanning = 1;
        state.keys = [];
        this.#reply(ACK);
        break;
      case 0xf5: // default, disable
        this.#setDefaults();
        state.scanning = 0;
        this.#reply(ACK);
        break;
      case 0xf6: // default
        this.#setDefaults();
        this.#reply(ACK);
        break;
      case 0xf7: // set 3: all keys
      case 0xf8:
      case 0xf9:
      case 0xfa:
        this.#reply(ACK);
        break;
      case RESEND:
        this.#reply(state.lastSent);
        break;
      case 0xff: // reset
        this.#setDefaults();
        state.scanning = 1;
        state.leds = 0;
        this.#leds(0);
        this.#reply(ACK, SELF_TEST_PASSED);
        break;
      default:
        this.#reply(RESEND);
    }
  }

  #parameter(command: number, byte: number): void {
    const state = this.#state();
    switch (command) {
      case 0xed:
        state.leds = byte & 7;
        this.#leds(state.leds);
        this.#reply(ACK);
        break;
      case 0xf0:
        if (byte === 0) this.#reply(ACK, state.scancodeSet);
        else if (byte <= 2) {
          state.scancodeSet = byte;
          this.#reply(ACK);
        } else {
          // Set 3 is not offered.
          state.command = command;
          this.#reply(RESEND);
        }
        break;
      case 0xf3:
        state.typematic = byte & 0x7f;
        this.#reply(ACK);
        break;
      default:
        // The list of keys ends with the next command.
        state.command = command;
        this.#reply(ACK);
    }
  }
}
