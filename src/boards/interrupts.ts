/**
 * The processor of a PC and its interrupt controllers: our chips on a bus of ours, or those that the accelerator brings
 * along. Which numbers lead where is the same.
 */
import { VmError } from '../base/errors.ts';
import { SystemApicBus } from '../devices/apic-bus.ts';
import { I8259 } from '../devices/i8259.ts';
import { IoApic } from '../devices/ioapic.ts';
import { APIC_MMIO_SIZE, LocalApic } from '../devices/local-apic.ts';
import type { Bus } from '../machine/bus.ts';
import type { Device } from '../machine/device.ts';
import { virtualWire } from '../machine/interrupt-state.ts';
import { unconnected, wiredOr, type IrqLine, type MsiSink } from '../machine/irq.ts';
import type { Machine } from '../machine/machine.ts';
import type { Accelerator, Architectural, ChiplessHost, VCpu } from '../machine/vcpu.ts';

export const LOCAL_APIC = 0xfee0_0000;
export const IO_APIC = 0xfec0_0000;
/** The TSC and guest time are the same thing: one tick a nanosecond. */
const TSC_HZ = 1e9;
const PINS = 24;
const ISA_IRQS = 16;
/** The timer's input of the I/O APIC; that of the 8259As is 0. */
const TIMER_PIN = 2;

export interface PcInterrupts {
  readonly vcpu: VCpu;
  /** Each processor's state, by APIC id. */
  readonly processors: readonly Architectural[];
  /**
   * An ISA interrupt, which reaches both controllers. Each call gives another source on the wire: it is high while any of
   * them is, so that PCI's level-triggered pins can share one.
   */
  isa(irq: number): IrqLine;
  /** Inputs of the I/O APIC. */
  readonly pins: readonly IrqLine[];
  readonly msi: MsiSink;
  /** In the order in which they are reset and restored: those before drive lines of those after. */
  readonly devices: readonly Device[];
  /** As firmware leaves the bootstrap processor. */
  enableVirtualWire(): void;
}

export interface InterruptParts {
  readonly accelerator: Accelerator;
  readonly cpus: number;
  readonly machine: Machine;
  readonly pio: Bus;
  readonly mmio: Bus;
  /** The processor's way to the machine, but for what its interrupt controllers give. */
  readonly host: ChiplessHost;
  /** INIT leads the bootstrap processor to the reset vector, where firmware is: here, that starts the kernel again. */
  readonly init: () => void;
}

export function pcInterrupts(parts: InterruptParts): PcInterrupts {
  const chips = makeChips(parts);
  const wires = Array.from({ length: ISA_IRQS }, (_, irq) => wiredOr(chips.isa(irq)));
  return { ...chips, isa: (irq) => wires[irq]!() };
}

function makeChips(parts: InterruptParts): PcInterrupts {
  const { accelerator, cpus } = parts;
  if (accelerator.createWithChips) return accelerators(parts);
  if (cpus === 1) return ours(parts);
  throw new VmError('unsupported', `${cpus} processors need KVM: ${accelerator.name} has one (--cpus 1, or --accel kvm)`);
}

function ours({ accelerator, machine, pio, mmio, host, init }: InterruptParts): PcInterrupts {
  const bus = new SystemApicBus();
  // The processor and its interrupt controllers name each other.
  let vcpu!: VCpu;
  let pic!: I8259;
  const apic = new LocalApic({
    id: 0,
    clock: machine.clock,
    tscHz: TSC_HZ,
    bus,
    outputs: {
      interrupt: (level) => vcpu.setInterrupt(level),
      nmi: () => vcpu.nmi(),
      init,
      startup: () => {}, // never waited for
      acknowledgeExternal: () => pic.acknowledge(),
    },
  });
  vcpu = accelerator.createVCpu({
    ...host,
    acknowledge: () => apic.acknowledge(),
    get cr8() {
      return BigInt(apic.cr8);
    },
    set cr8(value) {
      apic.cr8 = Number(value);
    },
    tscMoved: (offset) => apic.tscMoved(offset),
    readMsr: (index) => apic.readMsr(index),
    writeMsr: (index, value) => apic.writeMsr(index, value),
  });
  bus.attachProcessor(apic);
  const ioApic = new IoApic(bus);
  bus.attachListener(ioApic);
  const slavePic = new I8259({ int: { set: (level) => pic.lines[2]!.set(level) } });
  pic = new I8259({ int: apic.lint0, slave: slavePic });
  mmio.map(LOCAL_APIC, APIC_MMIO_SIZE, 'local APIC', apic);
  mmio.map(IO_APIC, 0x1000, 'I/O APIC', ioApic);
  pio.map(0x20, 2, 'PIC master', pic);
  pio.map(0xa0, 2, 'PIC slave', slavePic);
  pio.map(0x4d0, 1, 'ELCR master', pic.elcr);
  pio.map(0x4d1, 1, 'ELCR slave', slavePic.elcr);
  return {
    vcpu,
    processors: [vcpu],
    isa(irq) {
      const legacy = irq < 8 ? pic.lines[irq]! : slavePic.lines[irq - 8]!;
      return bothLines(legacy, ioApic.lines[irq === 0 ? TIMER_PIN : irq]!);
    },
    pins: ioApic.lines,
    msi: bus.msi,
    devices: [slavePic, pic, ioApic, apic] as Device[],
    enableVirtualWire: () => apic.enableVirtualWire(),
  };
}

function accelerators({ accelerator, cpus, machine, host }: InterruptParts): PcInterrupts {
  const { vcpu, each, chips } = accelerator.createWithChips!(host, cpus, () => machine.post(() => {}));
  const { slavePic, pic, ioApic, localApics } = chips;
  const bootstrap = localApics[0]!;
  return {
    vcpu,
    processors: each,
    isa: (irq) => chips.lines[irq]!,
    // Below 16 a line is the ISA interrupt's, which is at the 8259As as well.
    pins: Array.from({ length: PINS }, (_, pin) => chips.lines[pin === TIMER_PIN ? 0 : pin] ?? unconnected),
    msi: chips.msi,
    devices: [slavePic, pic, ioApic, ...localApics] as Device[],
    enableVirtualWire() {
      virtualWire(bootstrap.state);
      bootstrap.sync();
    },
  };
}

/** One wire to two places. */
export function bothLines(one: IrqLine, other: IrqLine): IrqLine {
  return {
    set(level) {
      one.set(level);
      other.set(level);
    },
  };
}
