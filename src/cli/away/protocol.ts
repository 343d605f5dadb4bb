/** What is said between a machine in a thread of its own and the thread that people, signals and the network are at. Plain data, all of it. */
import { VmError, type ErrorCode } from '../../base/errors.ts';
import type { LogLevel } from '../../base/log.ts';
import type { Accelerator, VCpuCounts } from '../../machine/vcpu.ts';
import type { TerminalSize } from '../../platform/terminal.ts';
import type { StateParts, StatePiece } from '../../snapshots/get/published-state.ts';
import type { CompilerEvent } from '../../x86/compiler/observer.ts';
import type { MachineEnd, MachineOptions } from '../machine.ts';

/** What the thread starts with. */
export interface ThreadData {
  readonly options: Pick<
    MachineOptions,
    'initrds' | 'commandLine' | 'memoryBytes' | 'accelerator' | 'console' | 'consoleSize' | 'noReboot'
  >;
  readonly root: { readonly tag: string; readonly treeText: string; readonly treeDigest: string };
  readonly state: StateParts;
  /** Somebody watches the compiler. */
  readonly watched: boolean;
  readonly symbolsPath?: string;
}

/** To the machine. Those with `id` are answered. */
export type ToMachine =
  | { readonly do: 'input'; readonly id: number; readonly data: Uint8Array }
  | { readonly do: 'resize'; readonly size: TerminalSize }
  | { readonly do: 'stop' }
  | { readonly do: 'press'; readonly id: number }
  | { readonly do: 'save'; readonly id: number; readonly path: string; readonly ends: boolean }
  /** The machine has ended: its root as a tree's text. */
  | { readonly do: 'seal'; readonly id: number }
  /** The answer to what the machine has asked for. */
  | { readonly do: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly do: 'refuse'; readonly id: number; readonly error: PlainError };

/** From the machine. */
export type FromMachine =
  | { readonly kind: 'started'; readonly accelerator: Accelerator['name']; readonly memoryBytes: number }
  | { readonly kind: 'failed'; readonly error: PlainError }
  | { readonly kind: 'output'; readonly data: Uint8Array }
  | { readonly kind: 'ended'; readonly end: PlainEnd; readonly stats: VCpuCounts }
  | { readonly kind: 'log'; readonly level: LogLevel; readonly component: string; readonly message: string }
  | { readonly kind: 'compiler'; readonly event: CompilerEvent }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refuse'; readonly id: number; readonly error: PlainError }
  /** A content of the root, and one that is put. */
  | { readonly kind: 'content'; readonly id: number; readonly digest: string }
  | { readonly kind: 'put'; readonly id: number; readonly data: Uint8Array }
  /** The machine stands still until `answer` has it. */
  | { readonly kind: 'page'; readonly piece: StatePiece; readonly answer: SharedArrayBuffer };

/** An error of ours, whose class does not survive the way. */
export interface PlainError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly stack?: string | undefined;
}

type PlainEnd = Exclude<MachineEnd, { kind: 'failed' }> | { readonly kind: 'failed'; readonly error: PlainError };

export function plainError(error: unknown): PlainError {
  if (error instanceof VmError) return { code: error.code, message: error.message };
  return error instanceof Error
    ? { code: undefined, message: error.message, stack: error.stack }
    : { code: undefined, message: String(error) };
}

export function errorOf({ code, message, stack }: PlainError): Error {
  if (code !== undefined) return new VmError(code, message);
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

export function plainEnd(end: MachineEnd): PlainEnd {
  return end.kind === 'failed' ? { kind: 'failed', error: plainError(end.error) } : end;
}

export function endOf(end: PlainEnd): MachineEnd {
  return end.kind === 'failed' ? { kind: 'failed', error: errorOf(end.error) } : end;
}

/** Requests that wait for their answers. */
export class Pending {
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 1;

  /** Calls `send` with a new number; what is answered to that is the result. */
  ask<T>(send: (id: number) => void): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      send(id);
    });
  }

  answer(id: number, value: unknown): void {
    this.#take(id)?.resolve(value);
  }

  refuse(id: number, error: PlainError): void {
    this.#take(id)?.reject(errorOf(error));
  }

  /** Nobody will answer any more. */
  refuseAll(error: PlainError): void {
    for (const id of [...this.#waiting.keys()]) this.refuse(id, error);
  }

  #take(id: number) {
    const found = this.#waiting.get(id);
    this.#waiting.delete(id);
    return found;
  }
}
