/**
 * Which interrupt of KVM's (a GSI) leads where. The first 24 are the inputs of the PC's controllers: an ISA interrupt
 * reaches both, and the timer's input of the I/O APIC is 2. Those above send a message each.
 */
import { IOAPIC_PINS } from '../../machine/interrupt-state.ts';
import * as K from './abi.ts';
import { checked, type KvmVm } from './system.ts';

const ENTRY_BYTES = 48;
const HEADER_BYTES = 8;
const TO_CHIP = 1;
const TO_MESSAGE = 2;
const CASCADE = 2;
const TIMER_PIN = 2;

interface Message {
  readonly address: number;
  readonly data: number;
}

/** The pin of the I/O APIC that a GSI leads to; undefined for the 8259As' cascade, which leads nowhere. */
export const ioApicPin = (gsi: number): number | undefined => (gsi === 0 ? TIMER_PIN : gsi === CASCADE ? undefined : gsi);

export class Routing {
  readonly #vm: KvmVm;
  readonly #messages = new Map<number, Message>();

  constructor(vm: KvmVm) {
    this.#vm = vm;
    this.#apply();
  }

  /** Makes a GSI send that message, and answers which: the one given, or a new one. */
  route(message: Message, gsi: number = IOAPIC_PINS + this.#messages.size): number {
    this.#messages.set(gsi, message);
    this.#apply();
    return gsi;
  }

  /** KVM takes the whole table at a time. struct kvm_irq_routing. */
  #apply(): void {
    const entries: [gsi: number, type: number, ...words: number[]][] = [];
    for (let gsi = 0; gsi < IOAPIC_PINS; gsi++) {
      const pin = ioApicPin(gsi);
      if (pin === undefined) continue;
      if (gsi < 16) entries.push([gsi, TO_CHIP, gsi < 8 ? K.KVM_IRQCHIP_PIC_MASTER : K.KVM_IRQCHIP_PIC_SLAVE, gsi & 7]);
      entries.push([gsi, TO_CHIP, K.KVM_IRQCHIP_IOAPIC, pin]);
    }
    for (const [gsi, { address, data }] of this.#messages) {
      entries.push([gsi, TO_MESSAGE, address % 2 ** 32, Math.floor(address / 2 ** 32), data]);
    }
    const table = new DataView(new ArrayBuffer(HEADER_BYTES + entries.length * ENTRY_BYTES));
    table.setUint32(0, entries.length, true);
    entries.forEach(([gsi, type, ...words], n) => {
      const at = HEADER_BYTES + n * ENTRY_BYTES;
      table.setUint32(at, gsi, true);
      table.setUint32(at + 4, type, true);
      words.forEach((word, i) => table.setUint32(at + 16 + 4 * i, word, true));
    });
    const { native } = this.#vm.system;
    checked(native.ioctlData(this.#vm.fd, K.KVM_SET_GSI_ROUTING, new Uint8Array(table.buffer)), 'KVM_SET_GSI_ROUTING');
  }
}
