/**
 * 8042 keyboard controller, ports 0x60 and 0x64, with a PS/2 keyboard and mouse. IBM PS/2 Technical Reference,
 * "Keyboard/Auxiliary Device Controller".
 */
import type { BusDevice } from '../machine/bus.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { bool, bytes, defineState, list, u16, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePort } from './byte-ports.ts';
import { keyboardFields, Ps2Keyboard } from './ps2-keyboard.ts';
import { mouseFields, Ps2Mouse } from './ps2-mouse.ts';
import { translateScancode } from './scancodes.ts';

const STATUS_OBF = 1 << 0;
const STATUS_SYS = 1 << 2;
const STATUS_COMMAND = 1 << 3;
const STATUS_UNLOCKED = 1 << 4;
const STATUS_AUX = 1 << 5;

const CTR_KEYBOARD_INT = 1 << 0;
const CTR_AUX_INT = 1 << 1;
const CTR_SYS = 1 << 2;
const CTR_KEYBOARD_DISABLE = 1 << 4;
const CTR_AUX_DISABLE = 1 << 5;
const CTR_TRANSLATE = 1 << 6;

const OUTPUT_NOT_RESET = 1 << 0;
const OUTPUT_A20 = 1 << 1;

/** In `output` and `replies`: the byte comes from the auxiliary device. */
const AUX = 0x100;
const REPLIES = 4;

export const i8042State = defineState('i8042', 1, {
  /** As firmware leaves it: keyboard interrupt on, translated. */
  control: u8(CTR_KEYBOARD_INT | CTR_SYS | CTR_TRANSLATE),
  /** The rest of the controller's RAM, from byte 1 on. */
  ram: bytes(31),
  /** A command whose data byte is awaited, or 0. */
  command: u8(),
  /** The last write was to port 0x64. */
  commandLast: bool(),
  outputPort: u8(OUTPUT_NOT_RESET | OUTPUT_A20),
  outputFull: bool(),
  output: u16(),
  /** The controller's own answers. */
  replies: list(REPLIES, u16()),
  /** 0xf0 has passed the translation. */
  breaking: bool(),
  keyboard: keyboardFields,
  mouse: mouseFields,
});

export interface I8042Options {
  readonly keyboardIrq: IrqLine;
  readonly mouseIrq: IrqLine;
  readonly a20: IrqLine;
  readonly reset: () => void;
  readonly leds?: (bits: number) => void;
}

export class I8042 implements Device<StateOf<typeof i8042State>> {
  readonly schema = i8042State;
  readonly state = i8042State.create();
  /** Port 0x60. */
  readonly data: BusDevice = new BytePort(
    (offset) => (offset === 0 ? this.#readData() : 0xff),
    (offset, value) => {
      if (offset === 0) this.#writeData(value);
    },
  );
  /** Port 0x64. */
  readonly command: BusDevice = new BytePort(
    (offset) => (offset === 0 ? this.#status() : 0xff),
    (offset, value) => {
      if (offset === 0) this.#writeCommand(value);
    },
  );
  readonly #options: I8042Options;
  readonly #keyboard: Ps2Keyboard;
  readonly #mouse: Ps2Mouse;

  constructor(options: I8042Options) {
    this.#options = options;
    this.#keyboard = new Ps2Keyboard(() => this.state.keyboard, options.leds ?? (() => {}));
    this.#mouse = new Ps2Mouse(() => this.state.mouse);
  }

  /** A key went down or up: all bytes of its sequence in scan code set 2. */
  key(sequence: readonly number[]): void {
    this.#keyboard.key(sequence);
    this.#transfer();
  }

  /** Movement in screen direction (x right, y down, z wheel towards the user); buttons 1 left, 2 right, 4 middle, 8 back, 16 forward. */
  mouse(dx: number, dy: number, dz: number, buttons: number): void {
    this.#mouse.move(dx, dy, dz, buttons);
    this.#transfer();
  }

  sync(): void {
    const { outputFull, output, control, outputPort } = this.state;
    const aux = (output & AUX) !== 0;
    this.#options.keyboardIrq.set(outputFull && !aux && (control & CTR_KEYBOARD_INT) !== 0);
    this.#options.mouseIrq.set(outputFull && aux && (control & CTR_AUX_INT) !== 0);
    this.#options.a20.set((outputPort & OUTPUT_A20) !== 0);
  }

  #status(): number {
    const { outputFull, output, control, commandLast } = this.state;
    return (
      STATUS_UNLOCKED |
      (outputFull ? STATUS_OBF : 0) |
      (outputFull && output & AUX ? STATUS_AUX : 0) |
      (control & CTR_SYS ? STATUS_SYS : 0) |
      (commandLast ? STATUS_COMMAND : 0)
    );
  }

  #readData(): number {
    const { state } = this;
    const value = state.output & 0xff;
    if (state.outputFull) {
      state.outputFull = false;
      // The line falls between two bytes, so that each has its edge.
      this.sync();
      this.#transfer();
    }
    return value;
  }

  /** Fills the output buffer with the next byte that waits. */
  #transfer(): void {
    const { state } = this;
    while (!state.outputFull) {
      const reply = state.replies.shift();
      const byte = reply ?? this.#next();
      if (byte < 0) break;
      if (reply !== undefined || byte & AUX || !(state.control & CTR_TRANSLATE)) state.output = byte;
      else if (byte === 0xf0) {
        state.breaking = true;
        continue;
      } else {
        state.output = translateScancode(byte) | (state.breaking ? 0x80 : 0);
        state.breaking = false;
      }
      state.outputFull = true;
    }
    this.sync();
  }

  /** The next byte of a device, or -1. */
  #next(): number {
    const { state } = this;
    const key = state.control & CTR_KEYBOARD_DISABLE ? -1 : this.#keyboard.take();
    if (key >= 0) return key;
    const aux = state.control & CTR_AUX_DISABLE ? -1 : this.#mouse.take();
    return aux < 0 ? -1 : aux | AUX;
  }

  /** Sends the controller's own byte, before anything that the devices have. */
  #reply(value: number): void {
    this.state.replies = [...this.state.replies, value].slice(-REPLIES);
  }

  #writeData(value: number): void {
    const { state } = this;
    const { command } = state;
    state.command = 0;
    state.commandLast = false;
    if (command === 0x60) state.control = value;
    else if (command > 0x60 && command < 0x80) state.ram[command - 0x61] = value;
    else if (command === 0xd1) this.#writeOutputPort(value);
    else if (command === 0xd2) this.#reply(value);
    else if (command === 0xd3) this.#reply(value | AUX);
    else if (command === 0xd4) {
      state.control &= ~CTR_AUX_DISABLE;
      this.#mouse.receive(value);
    } else {
      // Talking to the keyboard enables it.
      state.control &= ~CTR_KEYBOARD_DISABLE;
      this.#keyboard.receive(value);
    }
    this.#transfer();
  }

  #writeCommand(value: number): void {
    const { state } = this;
    state.commandLast = true;
    state.command = 0;
    if (value === 0x20) this.#reply(state.control);
    else if (value > 0x20 && value < 0x40) this.#reply(state.ram[value - 0x21]!);
    else if ((value >= 0x60 && value < 0x80) || (value >= 0xd1 && value <= 0xd4)) state.command = value;
    else if (value >= 0xf0) {
      // Pulses the output lines whose bit is 0; the only one that is connected resets the processor.
      if (!(value & OUTPUT_NOT_RESET)) this.#options.reset();
    } else this.#simpleCommand(value);
    this.#transfer();
  }

  #simpleCommand(value: number): void {
    const { state } = this;
    switch (value) {
      case 0xa4: // is a password installed
        this.#reply(0xf1);
        break;
      case 0xa7:
        state.control |= CTR_AUX_DISABLE;
        break;
      case 0xa8:
        state.control &= ~CTR_AUX_DISABLE;
        break;
      case 0xa9: // test the auxiliary interface
      case 0xab: // test the keyboard interface
        this.#reply(0x00);
        break;
      case 0xaa: // self test
        state.control |= CTR_SYS;
        this.#reply(0x55);
        break;
      case 0xad:
        state.control |= CTR_KEYBOARD_DISABLE;
        break;
      case 0xae:
        state.control &= ~CTR_KEYBOARD_DISABLE;
        break;
      case 0xc0: // input port: not locked, no jumpers
        this.#reply(0xa0);
        break;
      case 0xd0: {
        const { outputFull, output } = state;
        this.#reply(state.outputPort | (outputFull ? (output & AUX ? 0x20 : 0x10) : 0));
        break;
      }
      case 0xdd:
        this.#writeOutputPort(state.outputPort & ~OUTPUT_A20);
        break;
      case 0xdf:
        this.#writeOutputPort(state.outputPort | OUTPUT_A20);
        break;
      default: // Unknown commands do nothing.
    }
  }

  #writeOutputPort(value: number): void {
    this.state.outputPort = (value & OUTPUT_A20) | OUTPUT_NOT_RESET;
    this.sync();
    if (!(value & OUTPUT_NOT_RESET)) this.#options.reset();
  }
}
