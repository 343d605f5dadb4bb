/** Numbers of the console device's protocol: VIRTIO 1.2, 5.3. */
export const F_SIZE = 0;
export const F_MULTIPORT = 1;
export const F_EMERG_WRITE = 2;

/** Offsets in the device-specific configuration. */
export const CONFIG_COLS = 0;
export const CONFIG_ROWS = 2;
export const CONFIG_MAX_PORTS = 4;
export const CONFIG_EMERG_WRITE = 8;
export const CONFIG_SIZE = 12;

/** Events of control messages. */
export const DEVICE_READY = 0;
export const DEVICE_ADD = 1;
export const PORT_READY = 3;
export const CONSOLE_PORT = 4;
export const RESIZE = 5;
export const PORT_OPEN = 6;
export const PORT_NAME = 7;

export const CONTROL_RECEIVE = 2;
export const CONTROL_TRANSMIT = 3;
/** Port number, event, value. */
export const CONTROL_SIZE = 8;

export const receiveQueue = (port: number): number => (port === 0 ? 0 : 2 * port + 2);
export const transmitQueue = (port: number): number => (port === 0 ? 1 : 2 * port + 3);
/** -1 for the control queues. */
export const portOfQueue = (queue: number): number => (queue < 2 ? 0 : queue < 4 ? -1 : (queue >> 1) - 1);
