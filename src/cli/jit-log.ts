/** `--jit-log`: what the compiler does, a line each. docs/performance.md describes the lines. */
import type { CompilerEvent } from '../x86/compiler/observer.ts';

/** Lines are handed on together. */
const BUFFER_CHARACTERS = 1 << 16;

export class JitLog {
  readonly #write: (data: Uint8Array) => void;
  /** How often the code at a guest-physical address has been compiled. */
  readonly #times = new Map<number, number>();
  #buffer = '';

  constructor(write: (data: Uint8Array) => void) {
    this.#write = write;
  }

  event(event: CompilerEvent): void {
    this.#buffer += `${this.#line(event)}\n`;
    if (this.#buffer.length >= BUFFER_CHARACTERS) this.flush();
  }

  flush(): void {
    if (this.#buffer !== '') this.#write(new TextEncoder().encode(this.#buffer));
    this.#buffer = '';
  }

  #line(event: CompilerEvent): string {
    switch (event.kind) {
      case 'module': {
        const { number, regions, bytes, emitMs, moduleMs } = event;
        return `module ${number} regions ${regions} bytes ${bytes} emit ${emitMs.toFixed(2)} ms compile ${moduleMs.toFixed(2)} ms`;
      }
      case 'region': {
        const { place, name, module, handler, entries, blocks, steps, bytes } = event;
        const times = (this.#times.get(place.physical) ?? 0) + 1;
        this.#times.set(place.physical, times);
        const size = `entries ${entries} blocks ${blocks} instructions ${steps} bytes ${bytes}`;
        return `region ${hex(place.linear)} physical ${hex(place.physical)} ${size} module ${module} handler ${handler} times ${times} ${name}`;
      }
      case 'drop':
        return `drop ${hex(event.place.linear)} physical ${hex(event.place.physical)} handler ${event.handler} because ${event.reason}`;
      case 'refuse':
        return `refuse ${hex(event.linear)} because ${event.reason}`;
    }
  }
}

const hex = (address: number | bigint): string => address.toString(16);
