import type { CharBackend } from '../backends.ts';
import type { IrqLine, MsiSink } from '../irq.ts';

/** A wire that remembers what was done to it. */
export class RecordingLine implements IrqLine {
  level = false;
  /** Low-to-high changes. */
  rises = 0;

  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

export class RecordingMsi implements MsiSink {
  readonly sent: { address: number; data: number }[] = [];

  send(address: number, data: number): void {
    this.sent.push({ address, data });
  }
}

export class RecordingChar implements CharBackend {
  readonly bytes: number[] = [];

  write(data: Uint8Array): void {
    this.bytes.push(...data);
  }

  get text(): string {
    return String.fromCharCode(...this.bytes);
  }
}
