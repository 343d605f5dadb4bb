/** What a file system has in a saved state. Apart from its device, because a reset leaves files alone. */
import type { FileSystemBackend } from '../../../machine/backends.ts';
import type { Device } from '../../../machine/device.ts';
import { VmError } from '../../../base/errors.ts';
import type { Schema } from '../../../machine/state.ts';

interface Kept {
  /** Read, and not in the backend yet. */
  data: unknown;
}

export class KeptFiles implements Device<Kept> {
  readonly schema: Schema<Kept>;
  readonly state: Kept = { data: undefined };
  readonly #backend: FileSystemBackend;

  constructor(backend: FileSystemBackend) {
    this.#backend = backend;
    this.schema = {
      name: 'files',
      version: 1,
      describe: "the file system's own",
      create: () => ({ data: undefined }),
      save: () => ({ data: backend.save() }),
      load(data) {
        if (typeof data !== 'object' || data === null || !('data' in data)) throw new VmError('bad-state', 'files: expected a record');
        return { data: data.data };
      },
    };
  }

  sync(): void {
    const { data } = this.state;
    this.state.data = undefined;
    if (data !== undefined) this.#backend.restore(data);
  }
}
