/**
 * The interrupt controllers of KVM in place of ours: 8259As and I/O APIC in the host's kernel (local-apic.ts: the third kind). They stand on
 * the board as ours do: devices with the same state, lines, messages. The 8254 stays ours: KVM's cannot say how far
 * its period has come, so that no state of it would be exact, and guests use it when they start, if at all.
 */
import { VmError } from '../../base/errors.ts';
import type { Device } from '../../machine/device.ts';
import {
  i8259State, IOAPIC_PINS, ioapicState, type I8259State, type IoApicState,
} from '../../machine/interrupt-state.ts'; // prettier-ignore
import type { IrqLine, MsiSink } from '../../machine/irq.ts';
import * as K from './abi.ts';
import { ioApicFromKvm, ioApicToKvm, picFromKvm, picToKvm } from './irqchip-state.ts';
import { KernelDevice } from './kernel-device.ts';
import { ioApicPin, Routing } from './routing.ts';
import { checked, type KvmSystem, type KvmVm } from './system.ts';

const MESSAGE_PAGE = 0xfee;

const NEEDED: Readonly<Record<string, number>> = {
  KVM_CAP_IRQCHIP: K.KVM_CAP_IRQCHIP,
  KVM_CAP_IRQ_ROUTING: K.KVM_CAP_IRQ_ROUTING,
  KVM_CAP_IRQFD: K.KVM_CAP_IRQFD,
  KVM_CAP_IOEVENTFD: K.KVM_CAP_IOEVENTFD,
  KVM_CAP_SIGNAL_MSI: K.KVM_CAP_SIGNAL_MSI,
  KVM_CAP_MP_STATE: K.KVM_CAP_MP_STATE,
};

/** What this KVM lacks for interrupt controllers of its own; undefined when nothing. */
export function missingForChips(system: KvmSystem): string | undefined {
  return Object.keys(NEEDED).find((name) => system.extension(NEEDED[name]!) <= 0);
}

export class KernelChips {
  readonly pic: Device<I8259State>;
  readonly slavePic: Device<I8259State>;
  readonly ioApic: Device<IoApicState>;
  /** Inputs by GSI: the same line leads to the 8259As and the I/O APIC, as on the board. */
  readonly lines: readonly IrqLine[];
  /** Takes writes to 0xfeexxxxx; other addresses are no interrupts. */
  readonly msi: MsiSink;
  readonly routing: Routing;
  readonly #vm: KvmVm;
  /** What whoever drives a GSI last set it to. */
  readonly #levels = Array.from({ length: IOAPIC_PINS }, () => false);
  readonly #irqLevel = new Uint32Array(2);
  readonly #irqLevelBytes = new Uint8Array(this.#irqLevel.buffer);

  /** Before the first vCPU is made. Throws VmError `unsupported` when this KVM has no such chips. */
  constructor(vm: KvmVm) {
    const { native } = vm.system;
    const missing = missingForChips(vm.system);
    if (missing !== undefined) throw new VmError('unsupported', `/dev/kvm: this KVM lacks ${missing}`);
    this.#vm = vm;
    checked(native.ioctl(vm.fd, K.KVM_CREATE_IRQCHIP, 0), 'KVM_CREATE_IRQCHIP');
    this.routing = new Routing(vm);
    this.lines = Array.from({ length: IOAPIC_PINS }, (_, gsi) => ({ set: (level) => this.#set(gsi, level) }));
    this.msi = { send: (address, data) => this.#send(address, data) };
    this.pic = this.#picDevice(K.KVM_IRQCHIP_PIC_MASTER);
    this.slavePic = this.#picDevice(K.KVM_IRQCHIP_PIC_SLAVE);
    this.ioApic = new KernelDevice<IoApicState>(
      ioapicState,
      () => ioApicFromKvm(this.#chip(K.KVM_IRQCHIP_IOAPIC), this.#pinLevels()),
      (state) => {
        state.pins.forEach(({ level }, pin) => (this.#levels[gsiOf(pin)] = level));
        this.#changeChip(K.KVM_IRQCHIP_IOAPIC, (data) => ioApicToKvm(data, state));
      },
    );
  }

  #picDevice(id: number): Device<I8259State> {
    const master = id === K.KVM_IRQCHIP_PIC_MASTER;
    return new KernelDevice<I8259State>(
      i8259State,
      () => picFromKvm(this.#chip(id), master),
      (state) => this.#changeChip(id, (data) => picToKvm(data, state, master)),
    );
  }

  #whole(id: number): Uint8Array {
    const data = new Uint8Array(K.KVM_IRQCHIP_BYTES);
    new DataView(data.buffer).setUint32(0, id, true);
    checked(this.#vm.system.native.ioctlData(this.#vm.fd, K.KVM_GET_IRQCHIP, data), 'KVM_GET_IRQCHIP');
    return data;
  }

  #chip(id: number): DataView {
    return new DataView(this.#whole(id).buffer, K.KVM_IRQCHIP_STATE);
  }

  #changeChip(id: number, change: (data: DataView) => void): void {
    const data = this.#whole(id);
    change(new DataView(data.buffer, K.KVM_IRQCHIP_STATE));
    checked(this.#vm.system.native.ioctlData(this.#vm.fd, K.KVM_SET_IRQCHIP, data), 'KVM_SET_IRQCHIP');
  }

  #pinLevels(): boolean[] {
    const levels = Array.from({ length: IOAPIC_PINS }, () => false);
    this.#levels.forEach((level, gsi) => {
      const pin = ioApicPin(gsi);
      if (pin !== undefined && level) levels[pin] = true;
    });
    return levels;
  }

  #set(gsi: number, level: boolean): void {
    if (this.#levels[gsi] === level) return;
    this.#levels[gsi] = level;
    // struct kvm_irq_level
    this.#irqLevel[0] = gsi;
    this.#irqLevel[1] = level ? 1 : 0;
    checked(this.#vm.system.native.ioctlData(this.#vm.fd, K.KVM_IRQ_LINE, this.#irqLevelBytes), 'KVM_IRQ_LINE');
  }

  #send(address: number, data: number): void {
    if (Math.floor(address / 0x10_0000) !== MESSAGE_PAGE) return;
    // struct kvm_msi
    const message = new Uint32Array(8);
    message[0] = address;
    message[2] = data;
    // A message that nobody takes is no error: no processor may match.
    this.#vm.system.native.ioctlData(this.#vm.fd, K.KVM_SIGNAL_MSI, new Uint8Array(message.buffer));
  }
}

/** The GSI behind a pin of the I/O APIC. */
function gsiOf(pin: number): number {
  return pin === ioApicPin(0) ? 0 : pin;
}
