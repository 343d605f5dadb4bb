import type { Schema } from './state.ts';

/**
 * A chip: a schema and one state object that holds *all* its guest-visible state. Host resources (files,
 * sockets, clocks, lines) come in by constructor and are not state. The device mutates `state` in place.
 */
export interface Device<S extends object = object> {
  readonly schema: Schema<S>;
  readonly state: S;
  /** Re-drives outputs (lines, timers) from `state` after reset or restore, without inventing edges. */
  sync(): void;
}

/** Puts a device back to its schema's reset values and re-drives its outputs. */
export function resetDevice(device: Device): void {
  Object.assign(device.state, device.schema.create());
  device.sync();
}

/** Plain data of a device's state. */
export function saveDevice(device: Device): unknown {
  return device.schema.save(device.state);
}

/** Replaces a device's state by decoded, checked data. Throws `bad-state` and changes nothing when it does not fit. */
export function restoreDevice(device: Device, data: unknown): void {
  Object.assign(device.state, device.schema.load(data));
  device.sync();
}
