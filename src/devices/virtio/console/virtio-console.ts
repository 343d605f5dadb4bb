/** Terminals and named byte channels to the guest. VIRTIO 1.2, 5.3. */
import { assert } from '../../../base/errors.ts';
import type { CharBackend } from '../../../machine/backends.ts';
import type { Width } from '../../../machine/bus.ts';
import { array, bool, bytes, defineState, list, struct, u16 } from '../../../machine/state.ts';
import type { Schema } from '../../../machine/state.ts';
import { featureSet } from '../virtio-device.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';
import {
  CONFIG_COLS,
  CONFIG_EMERG_WRITE,
  CONFIG_MAX_PORTS,
  CONFIG_ROWS,
  CONFIG_SIZE,
  CONSOLE_PORT,
  CONTROL_RECEIVE,
  CONTROL_SIZE,
  CONTROL_TRANSMIT,
  DEVICE_ADD,
  DEVICE_READY,
  F_EMERG_WRITE,
  F_MULTIPORT,
  F_SIZE,
  PORT_NAME,
  PORT_OPEN,
  PORT_READY,
  RESIZE,
  portOfQueue,
  receiveQueue,
  transmitQueue,
} from './protocol.ts';

const DATA_QUEUE = 64;
const CONTROL_QUEUE = 32;
const MAX_PORTS = 16;
/** Bytes a port keeps for a guest that has no buffers ready. A power of two. */
export const PORT_BACKLOG = 0x8000;
/** Control messages kept for a guest that takes none; beyond them they are lost. */
const MAX_MESSAGES = 8 * MAX_PORTS;
/** No driver sends more at once; Linux sends at most 32 KiB. */
const MAX_TRANSMIT = 2 ** 20;

/** One port: a terminal (`hvc0` for the first), or a channel that the guest finds as /dev/virtio-ports/NAME. */
export interface ConsolePort extends CharBackend {
  /** Absent for a terminal. */
  readonly name?: string;
  /** The guest opened or closed its end. */
  opened?(open: boolean): void;
}

interface PortState {
  guestOpen: boolean;
  hostOpen: boolean;
  head: number;
  count: number;
  backlog: Uint8Array;
}

export interface VirtioConsoleState {
  cols: number;
  rows: number;
  ports: PortState[];
  messages: { port: number; event: number; value: number }[];
}

export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/**
 * With one nameless port it is a plain console. Otherwise it speaks the multiport protocol, in which Linux before
 * 6.16 reads a new terminal size with columns and rows exchanged: give a terminal a device of its own.
 */
export class VirtioConsole implements VirtioDevice<VirtioConsoleState> {
  readonly name = 'virtio-console';
  readonly deviceId = 3;
  readonly classCode = 0x078000;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(CONFIG_SIZE);
  readonly schema: Schema<VirtioConsoleState>;
  readonly state: VirtioConsoleState;
  readonly #ports: readonly ConsolePort[];
  readonly #refused: boolean[];
  readonly #announced: boolean[];
  #transport: VirtioTransport | undefined;

  constructor(ports: readonly ConsolePort[], size: TerminalSize = { cols: 80, rows: 25 }) {
    assert(ports.length >= 1 && ports.length <= MAX_PORTS, `a console has 1 to ${MAX_PORTS} ports`);
    this.#ports = ports;
    this.#refused = ports.map(() => false);
    this.#announced = ports.map(() => false);
    const multiport = ports.length > 1 || ports[0]!.name !== undefined;
    this.features = featureSet(F_SIZE, F_EMERG_WRITE, ...(multiport ? [F_MULTIPORT] : []));
    const others = ports.slice(1).flatMap(() => [DATA_QUEUE, DATA_QUEUE]);
    this.queueSizes = multiport ? [DATA_QUEUE, DATA_QUEUE, CONTROL_QUEUE, CONTROL_QUEUE, ...others] : [DATA_QUEUE, DATA_QUEUE];
    const port = struct({ guestOpen: bool(), hostOpen: bool(true), head: u16(), count: u16(), backlog: bytes(PORT_BACKLOG) });
    this.schema = defineState(this.name, 1, {
      cols: u16(size.cols),
      rows: u16(size.rows),
      ports: array(ports.length, port),
      messages: list(MAX_MESSAGES, struct({ port: u16(), event: u16(), value: u16() })),
    });
    this.state = this.schema.create();
    this.#showSize();
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  start(): void {
    this.#ports.forEach((_, port) => this.#deliver(port));
  }

  get #multiport(): boolean {
    return this.#transport!.has(F_MULTIPORT);
  }

  notify(queue: number): void {
    if (queue === CONTROL_RECEIVE) this.#sendMessages();
    else if (queue === CONTROL_TRANSMIT) this.#takeMessages();
    else if (queue % 2 === 0) this.#deliver(portOfQueue(queue));
    else this.#transmit(portOfQueue(queue));
  }

  #transmit(port: number): void {
    const queue = this.#transport!.queues[transmitQueue(port)]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.readableBytes > MAX_TRANSMIT) {
        this.#transport!.fail(`port ${port}: ${chain.readableBytes} bytes at once (at most ${MAX_TRANSMIT})`);
        return;
      }
      const data = new Uint8Array(chain.readableBytes);
      chain.read(0, data);
      queue.push(chain, 0);
      if (data.length > 0) this.#ports[port]!.write(data);
    }
    queue.signal();
  }

  /**
   * Bytes for the guest, as an input of the machine. Answers how many of them found room; for the rest,
   * wait until the port's `room` is called.
   */
  receive(port: number, data: Uint8Array): number {
    const state = this.state.ports[port]!;
    let accepted = 0;
    while (accepted < data.length) {
      const tail = (state.head + state.count) & (PORT_BACKLOG - 1);
      const part = Math.min(data.length - accepted, PORT_BACKLOG - state.count, PORT_BACKLOG - tail);
      if (part === 0) break;
      state.backlog.set(data.subarray(accepted, accepted + part), tail);
      state.count += part;
      accepted += part;
      this.#deliver(port);
    }
    this.#refused[port] = accepted < data.length;
    return accepted;
  }

  /** Moves the backlog into the guest's buffers, as far as there are any. */
  #deliver(port: number): void {
    const transport = this.#transport!;
    const state = this.state.ports[port]!;
    if (!transport.running || (this.#multiport && !state.guestOpen)) return;
    const queue = transport.queues[receiveQueue(port)]!;
    while (state.count > 0) {
      const chain = queue.pop();
      if (!chain) break;
      let written = 0;
      while (state.count > 0) {
        const end = Math.min(state.head + state.count, PORT_BACKLOG);
        const part = chain.write(written, state.backlog.subarray(state.head, end));
        if (part === 0) break;
        written += part;
        state.head = (state.head + part) & (PORT_BACKLOG - 1);
        state.count -= part;
      }
      queue.push(chain, written);
    }
    queue.signal();
    if (this.#refused[port] && state.count < PORT_BACKLOG) {
      this.#refused[port] = false;
      this.#ports[port]!.room?.();
    }
  }

  /** The size of the terminal behind port 0, as an input of the machine. */
  resize(cols: number, rows: number): void {
    const { state } = this;
    if (state.cols === cols && state.rows === rows) return;
    state.cols = cols & 0xffff;
    state.rows = rows & 0xffff;
    this.#showSize();
    this.#transport?.configChanged();
    if (this.#transport?.running && this.#multiport && this.#ports[0]!.name === undefined) {
      this.#message(0, RESIZE, 0);
      this.#sendMessages();
    }
  }

  /** Tells the guest whether somebody listens at the host's end of a port. */
  setHostOpen(port: number, open: boolean): void {
    this.state.ports[port]!.hostOpen = open;
    if (!this.#transport?.running || !this.#multiport) return;
    this.#message(port, PORT_OPEN, open ? 1 : 0);
    this.#sendMessages();
  }

  #showSize(): void {
    const view = new DataView(this.config.buffer);
    view.setUint16(CONFIG_COLS, this.state.cols, true);
    view.setUint16(CONFIG_ROWS, this.state.rows, true);
    view.setUint32(CONFIG_MAX_PORTS, this.#ports.length, true);
  }

  /** Emergency write: a character before any queue works. */
  writeConfig(offset: number, _width: Width, value: number): void {
    if (offset === CONFIG_EMERG_WRITE) this.#ports[0]!.write(Uint8Array.of(value));
  }

  #takeMessages(): void {
    const queue = this.#transport!.queues[CONTROL_TRANSMIT]!;
    const message = new DataView(new ArrayBuffer(CONTROL_SIZE));
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const whole = chain.read(0, new Uint8Array(message.buffer)) === CONTROL_SIZE;
      queue.push(chain, 0);
      if (whole) this.#handle(message.getUint32(0, true), message.getUint16(4, true), message.getUint16(6, true));
    }
    queue.signal();
    this.#sendMessages();
  }

  #handle(port: number, event: number, value: number): void {
    if (event === DEVICE_READY && value === 1) this.#ports.forEach((_, id) => this.#message(id, DEVICE_ADD, 0));
    const state = this.state.ports[port];
    if (!state) return;
    if (event === PORT_READY && value === 1) {
      if (this.#ports[port]!.name === undefined) {
        this.#message(port, CONSOLE_PORT, 1);
        if (port === 0) this.#message(port, RESIZE, 0);
      } else this.#message(port, PORT_NAME, 1);
      if (state.hostOpen) this.#message(port, PORT_OPEN, 1);
    } else if (event === PORT_OPEN && state.guestOpen !== (value !== 0)) {
      state.guestOpen = value !== 0;
      this.#announce();
      this.#deliver(port);
    }
  }

  #message(port: number, event: number, value: number): void {
    const { messages } = this.state;
    if (event === RESIZE && messages.some((message) => message.port === port && message.event === RESIZE)) return;
    if (messages.length < MAX_MESSAGES) messages.push({ port, event, value });
  }

  #sendMessages(): void {
    const queue = this.#transport!.queues[CONTROL_RECEIVE]!;
    const { messages } = this.state;
    while (messages.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      const { port, event, value } = messages.shift()!;
      queue.push(chain, chain.write(0, this.#encode(port, event, value)));
    }
    queue.signal();
  }

  #encode(port: number, event: number, value: number): Uint8Array {
    const name = event === PORT_NAME ? (this.#ports[port]?.name ?? '') : '';
    const view = new DataView(new ArrayBuffer(CONTROL_SIZE + (event === RESIZE ? 4 : name.length)));
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    if (event === RESIZE) {
      view.setUint16(8, this.state.cols, true);
      view.setUint16(10, this.state.rows, true);
    }
    for (let i = 0; i < name.length; i++) view.setUint8(CONTROL_SIZE + i, name.charCodeAt(i));
    return new Uint8Array(view.buffer);
  }

  /** What was typed before a driver came, and the size of the terminal, outlive the driver's reset. */
  reset(): void {
    this.state.messages = [];
    for (const port of this.state.ports) port.guestOpen = false;
    this.#announce();
  }

  /** Tells the ports whose guest end changed. */
  #announce(): void {
    this.state.ports.forEach(({ guestOpen }, port) => {
      if (this.#announced[port] === guestOpen) return;
      this.#announced[port] = guestOpen;
      this.#ports[port]!.opened?.(guestOpen);
    });
  }

  sync(): void {
    for (const port of this.state.ports) {
      port.head &= PORT_BACKLOG - 1;
      port.count = Math.min(port.count, PORT_BACKLOG);
    }
    this.#showSize();
    this.#announce();
  }
}
