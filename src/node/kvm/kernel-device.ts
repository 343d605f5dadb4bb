import type { Device } from '../../machine/device.ts';
import type { Schema } from '../../machine/state.ts';

/** A device whose state is in the host's kernel: reading it asks there, and `sync` puts it there. */
export class KernelDevice<S extends object> implements Device<S> {
  readonly schema: Schema<S>;
  readonly #state: S;
  readonly #get: (before: S) => S;
  readonly #put: (state: S) => void;

  constructor(schema: Schema<S>, get: (before: S) => S, put: (state: S) => void) {
    this.schema = schema;
    this.#state = schema.create();
    this.#get = get;
    this.#put = put;
  }

  /** The state now, in one object: what is changed there takes effect by `sync`. */
  get state(): S {
    return Object.assign(this.#state, this.#get(this.#state));
  }

  sync(): void {
    this.#put(this.#state);
  }
}
