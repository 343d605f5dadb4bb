/** Messages between I/O APIC, message-signalled interrupts and local APICs. SDM vol. 3, 11.6 and 11.11. */

export const DELIVERY_FIXED = 0;
export const DELIVERY_LOWEST = 1;
export const DELIVERY_NMI = 4;
export const DELIVERY_INIT = 5;
export const DELIVERY_STARTUP = 6;
export const DELIVERY_EXTINT = 7;

/** One interrupt on its way to one or several processors. */
export interface ApicMessage {
  /** An APIC id, or a logical destination when `logical`; `BROADCAST` means everyone. */
  readonly destination: number;
  readonly logical: boolean;
  /** A `DELIVERY_` constant. */
  readonly mode: number;
  readonly vector: number;
  /** Level-triggered: its end is told to the I/O APICs. */
  readonly level: boolean;
  /** APIC id of one processor that is left out of a broadcast. */
  readonly except?: number;
}

/** Everyone, in all formats: senders turn an 8-bit 0xff into this. */
export const BROADCAST = 0xffff_ffff;

/** A sender's 8-bit destination field. */
export const destination8 = (field: number): number => (field === 0xff ? BROADCAST : field);

/** What carries the messages. */
export interface ApicBus {
  send(message: ApicMessage): void;
  /** A local APIC has finished a level-triggered interrupt. */
  endOfInterrupt(vector: number): void;
}
