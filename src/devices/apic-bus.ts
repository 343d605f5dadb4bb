/** What connects the local APICs, the I/O APICs and message-signalled interrupts. SDM vol. 3, 11.6.2 and 11.11. */
import { DELIVERY_LOWEST, destination8 } from '../machine/apic.ts';
import type { ApicBus, ApicMessage } from '../machine/apic.ts';
import type { MsiSink } from '../machine/irq.ts';
import type { LocalApic } from './local-apic.ts';

/** Something that keeps a level-triggered interrupt until it is finished: an I/O APIC. */
export interface EoiListener {
  endOfInterrupt(vector: number): void;
}

export class SystemApicBus implements ApicBus {
  /** Takes writes by devices to 0xfeexxxxx; other addresses are no interrupts. */
  readonly msi: MsiSink = {
    send: (address, data) => {
      if (Math.floor(address / 0x10_0000) !== 0xfee) return;
      this.send({
        destination: destination8((address >>> 12) & 0xff),
        logical: (address & 4) !== 0,
        mode: (data >> 8) & 7,
        vector: data & 0xff,
        level: (data & 0x8000) !== 0,
      });
    },
  };
  readonly #processors: LocalApic[] = [];
  readonly #listeners: EoiListener[] = [];

  attachProcessor(apic: LocalApic): void {
    this.#processors.push(apic);
  }

  attachListener(listener: EoiListener): void {
    this.#listeners.push(listener);
  }

  send(message: ApicMessage): void {
    if (message.mode !== DELIVERY_LOWEST) {
      for (const apic of this.#processors) if (apic.matches(message)) apic.deliver(message);
      return;
    }
    let best: LocalApic | undefined;
    for (const apic of this.#processors) {
      if (apic.matches(message) && apic.accepts && !(best && best.processorPriority <= apic.processorPriority)) best = apic;
    }
    best?.deliver(message);
  }

  endOfInterrupt(vector: number): void {
    for (const listener of this.#listeners) listener.endOfInterrupt(vector);
  }
}
