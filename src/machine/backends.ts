/**
 * What devices ask of the world behind them. Declared here, so that a device and its backend need not know
 * each other. All completions come back through the machine's one door for input.
 */

/** Where bytes typed at, or printed by, a guest's terminal go. */
export interface CharBackend {
  /** Bytes from the guest. */
  write(data: Uint8Array): void;
  /** The guest's device refused bytes, and now has room again. */
  room?(): void;
}

/** A disk as the guest sees it. Sectors are 512 bytes. */
export interface BlockBackend {
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Fills `into` (a multiple of 512 bytes) from `sector` on. Rejects with a VmError when the host fails. */
  read(sector: number, into: Uint8Array): Promise<void>;
  write(sector: number, data: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  discard(sector: number, count: number): Promise<void>;
  /** For a saved machine to know its disk again: a text for people that differs when the contents may differ. */
  identity?(): Promise<string>;
}

/** Random bytes from the host. */
export interface EntropyBackend {
  fill(into: Uint8Array): void;
}

/** The other end of a guest's network cable. Frames are Ethernet frames without their checksum (FCS). */
export interface NetBackend {
  /** A frame from the guest, with its checksums complete; the bytes are the receiver's to keep. */
  send(frame: Uint8Array): void;
  /** The guest has buffers again after it refused a frame. */
  room?(): void;
}

/** What becomes of guest memory whose contents the guest gave up: it may read as anything from now on. */
export interface PageReclaimer {
  /** Page-aligned, and all RAM. */
  release(gpa: number, length: number): void;
}
