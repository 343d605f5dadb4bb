/** The host's files, as far as a cache and a few images need them. Paths are the host's own, joined by `/`. */

export interface FileInfo {
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  readonly directory: boolean;
}

/** A stretch of a file that reads as zeros, and takes no room where the file system can do that. */
export interface Hole {
  readonly holeBytes: number;
}

/** How names end of files that a process was writing as a whole when it was killed: behind the name that they were to have. */
export const UNFINISHED = /\.\d+\.\d+\.new$/;

/** A file open for appending. `close` makes what was written durable; it is idempotent. */
export interface Appender {
  write(data: Uint8Array): Promise<void>;
  /** Leaves a hole. */
  skip(bytes: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Every method rejects with a VmError `host-io` that names the path, what failed and what would help (a full disk,
 * a missing permission). A file that is not there is not an error for those that read: they give `undefined`.
 */
export interface Files {
  read(path: string): Promise<Uint8Array | undefined>;
  info(path: string): Promise<FileInfo | undefined>;
  /** Names in a directory, sorted; empty when there is none. */
  list(path: string): Promise<string[]>;
  /** Makes a directory and its parents. Idempotent. */
  makeDirectory(path: string): Promise<void>;
  /** Replaces a file as a whole: after a crash there is the old content or the new, never a part. Makes parents. */
  write(path: string, data: Uint8Array | AsyncIterable<Uint8Array | Hole>): Promise<void>;
  /** Makes a file that is not there, whole or not at all; false when there is one. `secret`: only its owner may read it. Makes parents. */
  create(path: string, data: Uint8Array, secret?: boolean): Promise<boolean>;
  /** Opens for appending at `offset`, cutting off what is behind it. Makes the file and its parents. */
  append(path: string, offset: number): Promise<Appender>;
  rename(from: string, to: string): Promise<void>;
  /** Makes a file's time of change the present, where that may be changed. False when there is no such file; never rejects. */
  touch(path: string): Promise<boolean>;
  /** Removes a file or a directory with all in it. Not there is fine. */
  remove(path: string): Promise<void>;
}
