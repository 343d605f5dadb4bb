/** A wire that is high or low. What is at its other end is the board's business. */
export interface IrqLine {
  set(level: boolean): void;
}

/** A low-to-high-to-low edge. */
export function pulse(line: IrqLine): void {
  line.set(true);
  line.set(false);
}

export const unconnected: IrqLine = { set() {} };

/** Several sources on one wire: high while any of them is high. */
export function wiredOr(line: IrqLine): () => IrqLine {
  let high = 0;
  return () => {
    let mine = false;
    return {
      set(level) {
        if (level === mine) return;
        mine = level;
        high += level ? 1 : -1;
        line.set(high > 0);
      },
    };
  };
}

/** Delivers a message-signalled interrupt: a 32-bit write of `data` to guest-physical `address`. PCI 3.0, 6.8. */
export interface MsiSink {
  send(address: number, data: number): void;
}
