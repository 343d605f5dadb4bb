/** What the compiler tells whoever watches it: logs and profilers. It does the same whether anybody listens or not. */

export type CompilerEvent =
  /** A module has been made; its regions follow. Numbers count from 1. Times are host time. */
  | {
      readonly kind: 'module';
      readonly number: number;
      readonly regions: number;
      readonly bytes: number;
      readonly emitMs: number;
      readonly moduleMs: number;
    }
  | {
      readonly kind: 'region';
      readonly place: Place;
      readonly name: string;
      readonly module: number;
      /** Its place in the table of handlers. */
      readonly handler: number;
      /** Places where execution comes in. */
      readonly entries: number;
      readonly blocks: number;
      /** Guest instructions. */
      readonly steps: number;
      readonly bytes: number;
    }
  /** A region has been taken away. */
  | { readonly kind: 'drop'; readonly place: Place; readonly handler: number; readonly reason: DropReason }
  /** A hot place has not been compiled. */
  | { readonly kind: 'refuse'; readonly linear: bigint; readonly reason: RefuseReason };

export type DropReason =
  /** The guest's code was written. */
  | 'changed'
  /** Everything decoded was dropped, because its memory was full. */
  | 'arena'
  /** There was too much compiled code: all of it goes. */
  | 'room';

export type RefuseReason =
  /** Its first instruction is the interpreter's. */
  | 'interpreted'
  /** Compiled code on its page had to go again and again: later. */
  | 'restless'
  /** The guest's code was written while it waited. */
  | 'changed'
  /** No handler is left. */
  | 'full'
  /** Its code did not fit where code is built. */
  | 'large'
  /** The host's compiler refused the module. */
  | 'host';

/** Where guest code is. */
export interface Place {
  /** Linear address when it was found hot; another process may have it elsewhere. */
  readonly linear: bigint;
  /** Guest-physical address. */
  readonly physical: number;
}

export interface CompilerObserver {
  onEvent?(event: CompilerEvent): void;
  /** A name for the code at a linear address; profilers see it as that of the function that is made of it. */
  nameOf?(linear: bigint): string | undefined;
}
