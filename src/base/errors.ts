/** What kind of failure it was, for programs; the message is for people. */
export type ErrorCode =
  | 'usage' // the caller asked for something that makes no sense
  | 'bad-image' // a kernel, initrd, disk or archive is malformed
  | 'bad-signature' // signed data does not verify
  | 'bad-digest' // bytes do not have the digest they were promised to have
  | 'network' // a server could not be reached, or answered wrongly
  | 'not-found' // a file, package or snapshot does not exist
  | 'host-io' // the host's file system or another resource failed
  | 'unsupported' // understood, but not offered here
  | 'cancelled' // the person or program asked to stop
  | 'bad-state'; // a saved state does not fit this machine

/**
 * A failure of the host or of input from outside. The message says what, where, why and what would work.
 * What the guest does wrong is never an error: it gets what hardware would give.
 */
export class VmError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'VmError';
    this.code = code;
  }
}

/** Throws when an invariant of our own code does not hold: a bug, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug: ${message}`);
}
