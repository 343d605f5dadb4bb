/**
 * PS/2 mouse with the IntelliMouse wheel (id 3) and five-button (id 4) extensions. IBM PS/2 Technical Reference,
 * "Mouse"; Microsoft, "Intellimouse PS/2 protocol".
 */
import { bool, list, struct, u32, u8 } from '../machine/state.ts';
import type { Field } from '../machine/state.ts';

const ACK = 0xfa;
const NACK = 0xfe;
const SELF_TEST_PASSED = 0xaa;
const STATUS_SCALING = 1 << 4;
const STATUS_ENABLED = 1 << 5;
const STATUS_REMOTE = 1 << 6;

/** Packets that wait only so that no click is lost; movement adds up instead. */
const PACKET_BUFFER = 64;
/** Movement that the guest has not asked for is kept up to here. */
const MOVEMENT_LIMIT = 0x7fff;

export const mouseFields = struct({
  command: u8(),
  /** Device id: 0, 3 or 4. */
  id: u8(),
  resolution: u8(2),
  sampleRate: u8(100),
  /** The two sample rates before the last: the knock for the extensions. */
  knock: list(2, u8()),
  scaling: bool(),
  enabled: bool(),
  remote: bool(),
  wrap: bool(),
  lastSent: u8(),
  /** Movement not yet reported, in two's complement: x right, y up, z towards the user. */
  x: u32(),
  y: u32(),
  z: u32(),
  buttons: u8(),
  reportedButtons: u8(),
  replies: list(16, u8()),
  packets: list(PACKET_BUFFER, u8()),
});

type MouseState = typeof mouseFields extends Field<infer T> ? T : never;

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));
const accumulate = (sum: number, delta: number): number => clamp((sum | 0) + Math.trunc(delta), -MOVEMENT_LIMIT, MOVEMENT_LIMIT) >>> 0;
/** Scaling 2:1 of small movements; larger ones double. */
const SCALED = [0, 1, 1, 3, 6, 9] as const;

export class Ps2Mouse {
  readonly #state: () => MouseState;

  constructor(state: () => MouseState) {
    this.#state = state;
  }

  /** Movement in screen direction (x right, y down, z wheel towards the user) and the buttons as they are now: 1 left, 2 right, 4 middle, 8 back, 16 forward. */
  move(dx: number, dy: number, dz: number, buttons: number): void {
    const state = this.#state();
    state.x = accumulate(state.x, dx);
    state.y = accumulate(state.y, -dy);
    state.z = accumulate(state.z, dz);
    state.buttons = buttons & 0x1f;
    if (state.packets.length === 0 || state.buttons !== state.reportedButtons) this.#stream();
  }

  take(): number {
    const state = this.#state();
    let byte = state.replies.shift();
    if (byte === undefined) {
      if (state.packets.length === 0) this.#stream();
      byte = state.packets.shift();
    }
    if (byte === undefined) return -1;
    state.lastSent = byte;
    return byte;
  }

  receive(byte: number): void {
    const state = this.#state();
    const { command } = state;
    state.command = 0;
    if (state.wrap && byte !== 0xff && byte !== 0xec) this.#reply(byte);
    else if (command === 0xe8) {
      state.resolution = byte & 3;
      this.#reply(ACK);
    } else if (command === 0xf3) this.#setSampleRate(byte);
    else this.#command(byte);
  }

  #reply(...bytes: number[]): void {
    this.#state().replies = bytes;
  }

  #setSampleRate(rate: number): void {
    const state = this.#state();
    const [first, second] = state.knock;
    if (first === 200 && second === 100 && rate === 80) state.id = 3;
    if (first === 200 && second === 200 && rate === 80 && state.id === 3) state.id = 4;
    state.knock = [...state.knock, rate].slice(-2);
    state.sampleRate = rate;
    this.#reply(ACK);
  }

  #setDefaults(): void {
    const { id, buttons } = this.#state();
    Object.assign(this.#state(), mouseFields.create(), { id, buttons });
  }

  #command(byte: number): void {
    const state = this.#state();
    switch (byte) {
      case 0xe6:
      case 0xe7:
        state.scaling = byte === 0xe7;
        this.#reply(ACK);
        break;
      case 0xe8: // set resolution
      case 0xf3: // set sample rate
        state.command = byte;
        this.#reply(ACK);
        break;
      case 0xe9: // status request
        this.#reply(ACK, this.#status(), state.resolution, state.sampleRate);
        break;
      case 0xea: // stream mode
      case 0xf0: // remote mode
        state.remote = byte === 0xf0;
        this.#reply(ACK);
        break;
      case 0xeb: // read data
        this.#reply(ACK, ...this.#packet());
        break;
      case 0xec: // reset wrap mode
      case 0xee: // set wrap mode
        state.wrap = byte === 0xee;
        this.#reply(ACK);
        break;
      case 0xf2: // read device type
        this.#reply(ACK, state.id);
        break;
      case 0xf4:
      case 0xf5:
        state.enabled = byte === 0xf4;
        state.packets = [];
        this.#reply(ACK);
        break;
      case 0xf6:
        this.#setDefaults();
        this.#reply(ACK);
        break;
      case 0xfe:
        this.#reply(state.lastSent);
        break;
      case 0xff:
        this.#setDefaults();
        state.id = 0;
        this.#reply(ACK, SELF_TEST_PASSED, 0);
        break;
      default:
        this.#reply(NACK);
    }
  }

  /** Right button in bit 0 here, unlike in packets. */
  #status(): number {
    const { buttons, scaling, enabled, remote } = this.#state();
    const swapped = ((buttons & 1) << 2) | ((buttons & 2) >> 1) | ((buttons & 4) >> 1);
    return swapped | (scaling ? STATUS_SCALING : 0) | (enabled ? STATUS_ENABLED : 0) | (remote ? STATUS_REMOTE : 0);
  }

  /** Queues a packet in stream mode when there is something to tell. */
  #stream(): void {
    const state = this.#state();
    if (!state.enabled || state.remote) return;
    const moved = state.x !== 0 || state.y !== 0 || (state.id !== 0 && state.z !== 0);
    if ((!moved && state.buttons === state.reportedButtons) || state.packets.length + 4 > PACKET_BUFFER) return;
    state.packets.push(...this.#packet());
  }

  /** Takes as much of the movement as fits one packet. */
  #packet(): number[] {
    const state = this.#state();
    const x = clamp(state.x | 0, -255, 255);
    const y = clamp(state.y | 0, -255, 255);
    const z = clamp(state.z | 0, state.id === 4 ? -8 : -127, state.id === 4 ? 7 : 127);
    state.x = accumulate(state.x, -x);
    state.y = accumulate(state.y, -y);
    state.z = state.id === 0 ? 0 : accumulate(state.z, -z);
    state.reportedButtons = state.buttons;
    const sx = this.#scale(x);
    const sy = this.#scale(y);
    const packet = [(state.buttons & 7) | 8 | (sx < 0 ? 0x10 : 0) | (sy < 0 ? 0x20 : 0), sx & 0xff, sy & 0xff];
    if (state.id === 3) packet.push(z & 0xff);
    if (state.id === 4) packet.push((z & 0x0f) | ((state.buttons & 0x18) << 1));
    return packet;
  }

  #scale(delta: number): number {
    const { scaling, remote } = this.#state();
    if (!scaling || remote) return delta;
    const size = Math.abs(delta);
    return clamp(Math.sign(delta) * (SCALED[size] ?? 2 * size), -255, 255);
  }
}
