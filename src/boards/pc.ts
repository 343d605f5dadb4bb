/**
 * The PC: with interrupts.ts the only place with addresses and interrupt numbers. Reads top to bottom like a parts list.
 * After Intel's Q35 chipset where something must be, and without what nobody looks for.
 */
import { AcpiPm, ACPI_DISABLE, ACPI_ENABLE, PM_TIMER_SIZE, SLP_TYP_S5 } from '../devices/acpi-pm.ts';
import { DebugPort, PostPort } from '../devices/debug-port.ts';
import { Hpet } from '../devices/hpet.ts';
import { I8042 } from '../devices/i8042.ts';
import { I8254 } from '../devices/i8254.ts';
import { IsaDebugExit } from '../devices/isa-debug-exit.ts';
import { cmosMemory, Mc146818 } from '../devices/mc146818.ts';
import { PcTestdev } from '../devices/pc-testdev.ts';
import { assignBars } from '../devices/pci/assign-bars.ts';
import { ConfigPorts } from '../devices/pci/config-ports.ts';
import { Ecam, ECAM_BUS_SIZE } from '../devices/pci/ecam.ts';
import { HostBridge } from '../devices/pci/host-bridge.ts';
import { PciBus } from '../devices/pci/pci-bus.ts';
import { Port61 } from '../devices/port61.ts';
import { Port92 } from '../devices/port92.ts';
import { RESET_VALUE, ResetControl } from '../devices/reset-control.ts';
import { Uart16550 } from '../devices/uart16550.ts';
import { VirtioBalloon } from '../devices/virtio/balloon/virtio-balloon.ts';
import { VirtioBlk } from '../devices/virtio/blk/virtio-blk.ts';
import { KeptFiles } from '../devices/virtio/fs/kept-files.ts';
import { VirtioFs } from '../devices/virtio/fs/virtio-fs.ts';
import { VirtioConsole, type ConsolePort } from '../devices/virtio/console/virtio-console.ts';
import { VirtioPci } from '../devices/virtio/pci-transport.ts';
import { VirtioNet } from '../devices/virtio/net/virtio-net.ts';
import { VirtioRng } from '../devices/virtio/rng/virtio-rng.ts';
import type { VirtioDevice } from '../devices/virtio/virtio-device.ts';
import type { BoardDescription } from '../firmware/acpi/description.ts';
import type { KernelRequest } from '../firmware/boot-plan.ts';
import { installFirmware } from '../firmware/install.ts';
import { GENERATION_ID } from '../firmware/memory-map.ts';
import { loadKernel } from '../firmware/load-kernel.ts';
import { silent, type Log } from '../base/log.ts';
import type { BlockBackend, CharBackend, EntropyBackend, NetBackend, SharedFileSystem } from '../machine/backends.ts';
import { Bus } from '../machine/bus.ts';
import { resetDevice, restoreDevice, type Device } from '../machine/device.ts';
import { pulse } from '../machine/irq.ts';
import { LOW_RAM_LIMIT, Memory } from '../machine/memory.ts';
import { Machine } from '../machine/machine.ts';
import { writeState } from '../machine/saved-state-file.ts';
import { StatePages } from '../machine/saved-state-supply.ts';
import type { StateCodec } from '../machine/saved-state.ts';
import type { Accelerator, VCpu } from '../machine/vcpu.ts';
import type { Pace } from '../platform/pace.ts';
import { bothLines, IO_APIC, LOCAL_APIC, pcInterrupts } from './interrupts.ts';
import { checkFit, describePc, inFile, processorsFor, processorsOf, type SavedPc } from './pc-state.ts';

const HPET = 0xfed0_0000;
const ECAM = 0xe000_0000;
const TESTDEV = 0xff00_0000;
const PCI_MMIO = { base: 0xc000_0000, size: 0x2000_0000 };
const PCI_IO = { base: 0xc000, size: 0x3000 };
const PM1A_EVENT = 0x600;
const PM1A_CONTROL = 0x604;
const PM_TIMER = 0x608;
const GPE0 = 0x620;
const SMI_COMMAND = 0xb2;
const DEBUG_EXIT = 0xf4;

/** A timer that is due may arm itself for a time that is past, too: a pulse's end. */
const EXPIRIES = 100;

/** A restored machine's pages are brought for so long at a time. */
const BRING_MS = 2;

/** I/O APIC inputs of the PCI interrupt pins. */
const INTX_GSIS = [16, 17, 18, 19] as const;
/** The same without I/O APIC. */
const INTX_PIC_IRQS = [10, 10, 11, 11] as const;
const SCI = 9;
const GENERATION_GPE = 0;

const DESCRIPTION: Omit<BoardDescription, 'cpus'> = {
  localApic: LOCAL_APIC,
  ioApic: { id: 0, address: IO_APIC },
  sciGsi: SCI,
  reset: { port: 0xcf9, value: RESET_VALUE },
  power: {
    pm1aEvent: PM1A_EVENT,
    pm1aControl: PM1A_CONTROL,
    pmTimer: PM_TIMER,
    gpe0: { port: GPE0, length: 4 },
    smiCommand: { port: SMI_COMMAND, enable: ACPI_ENABLE, disable: ACPI_DISABLE },
    s5SleepType: SLP_TYP_S5,
  },
  hpet: HPET,
  generation: { address: GENERATION_ID, gpe: GENERATION_GPE },
  pci: { ecam: { base: ECAM, buses: 1 }, mmio: PCI_MMIO, gsis: INTX_GSIS, picIrqs: INTX_PIC_IRQS },
  rtc: { port: 0x70, irq: 8, centuryIndex: 0x32 },
  ps2: { keyboardIrq: 1, mouseIrq: 12 },
  serial: [{ port: 0x3f8, irq: 4 }],
  vga: false,
};

/** How a machine goes on from a saved state. */
export interface RestoreOptions {
  readonly state: SavedPc;
  readonly identity: 'new' | 'same';
  /** Only those pages come that are asked for: the state's bytes stay where they are for as long as the machine runs. */
  readonly onlyAsked?: boolean;
  /** Told of each page when it is first asked for, in order; pages come one by one then, and only those that are asked for. */
  readonly onPage?: (page: number) => void;
}

/** What the outside gives a PC. */
export interface PcOptions {
  readonly memoryBytes: number;
  /** Processors; more than one only where the accelerator brings interrupt controllers along. When absent: those of `restore`, or one. */
  readonly cpus?: number;
  readonly accelerator: Accelerator;
  readonly pace: Pace;
  readonly epochMs: number;
  readonly entropy: EntropyBackend;
  readonly log?: Log;
  /** The 16550 at 0x3f8. */
  readonly serial: CharBackend;
  readonly disks?: readonly BlockBackend[];
  readonly fileSystems?: readonly SharedFileSystem[];
  /**
   * A network card. Its address is the host's to give: a restored machine has another one than that which was saved, unless it is the
   * very machine. The guest's driver learns of that when it is bound anew.
   */
  readonly network?: { readonly backend: NetBackend; readonly mac: Uint8Array };
  /** A virtio console: hvc0. */
  readonly console?: { readonly port: ConsolePort; readonly cols: number; readonly rows: number };
  /** Named virtio serial ports. */
  readonly ports?: readonly ConsolePort[];
  /** Absent in a restored machine: then a reset ends it. */
  readonly kernel?: Omit<KernelRequest, 'memoryMap' | 'acpiRsdp'>;
  /**
   * Goes on from here. The machine must be as it was: see pc-state.ts. It gets a new identity, unless it is the very machine that
   * moves: then nobody else goes on from this state.
   */
  readonly restore?: RestoreOptions;
  /** QEMU's isa-debug-exit and pc-testdev, for people who test kernels. */
  readonly debugExit?: boolean;
  /** A reset ends the machine. */
  readonly noReboot?: boolean;
}

export interface Pc {
  /**
   * Saves the machine between two instructions: `write` is given the file's bytes while it stands still, and the machine ends
   * after that if it is told so. Rejects with what `write` rejects with; then the machine goes on.
   */
  save(codec: StateCodec, write: (data: Iterable<Uint8Array>) => Promise<void>, then: 'go on' | 'end'): Promise<void>;
  readonly machine: Machine;
  readonly vcpu: VCpu;
  readonly serial: Uart16550;
  readonly console: VirtioConsole | undefined;
  readonly ports: VirtioConsole | undefined;
  /** Takes frames for the guest, as inputs of the machine. */
  readonly network: VirtioNet | undefined;
  readonly power: AcpiPm;
  readonly keyboard: I8042;
}

export async function createPc(options: PcOptions): Promise<Pc> {
  const { accelerator, entropy } = options;
  const log = options.log ?? silent;
  const memory = new Memory(options.memoryBytes, accelerator.reservedBytes);
  const saved = options.restore?.state;
  const cpus = options.cpus ?? (saved ? processorsFor(saved, accelerator) : 1);
  const description = { ...DESCRIPTION, cpus };
  // Guest time goes on where it was, and the wall clock is the host's.
  const epochMs = options.epochMs - Math.floor((saved?.clockNs ?? 0) / 1e6);
  const machine = new Machine(options.pace, epochMs);
  const { clock } = machine;
  const pio = new Bus('pio');
  const mmio = new Bus('mmio');
  const random = new Uint8Array(8);

  // Processor and interrupt controllers
  const chips = pcInterrupts({
    accelerator,
    cpus,
    machine,
    pio,
    mmio,
    host: {
      memory,
      pio,
      mmio,
      epochMs,
      time: clock,
      fpuError: () => pulse(isa(13)),
      random() {
        entropy.fill(random);
        return new DataView(random.buffer).getBigUint64(0);
      },
    },
    init: () => reset(),
  });
  const { vcpu, isa, pins, msi } = chips;
  memory.tracksWrites = vcpu.unit === 'instructions';

  // Time
  const hpet = new Hpet({ clock, legacy: [isa(0), isa(8)], routes: new Map([20, 21, 22, 23].map((pin) => [pin, pins[pin]!])) });
  const pit = new I8254(clock, hpet.pit);
  const port61 = new Port61(clock, pit);
  const low = Math.min(memory.sizeBytes, LOW_RAM_LIMIT);
  const rtc = new Mc146818(clock, hpet.rtc, cmosMemory(low, memory.sizeBytes - low));
  mmio.map(HPET, 0x400, 'HPET', hpet);
  pio.map(0x40, 4, 'PIT', pit);
  pio.map(0x61, 1, 'port 61', port61);
  pio.map(0x70, 2, 'RTC', rtc);

  // Power and reset
  const reset = (): void => (options.noReboot || !options.kernel ? machine.end({ kind: 'reset' }) : void machine.post(restart));
  const power = new AcpiPm({ clock, sci: isa(SCI), powerOff: () => machine.end({ kind: 'poweroff' }) });
  const resetControl = new ResetControl(reset);
  const port92 = new Port92({ set() {} }, reset);
  pio.map(PM1A_EVENT, 4, 'PM1a event', power.event);
  pio.map(PM1A_CONTROL, 2, 'PM1a control', power.control);
  pio.map(PM_TIMER, PM_TIMER_SIZE, 'PM timer', power.timer);
  pio.map(GPE0, 4, 'GPE0', power.gpe0);
  pio.map(SMI_COMMAND, 1, 'SMI command', power.smiCommand);
  pio.map(0x92, 1, 'port 92', port92);

  // Keyboard, mouse, serial port
  const keyboard = new I8042({ keyboardIrq: isa(1), mouseIrq: isa(12), a20: { set() {} }, reset });
  const serial = new Uart16550(options.serial, isa(4));
  const debugPort = new DebugPort({ write: (data) => log('debug', 'guest', new TextDecoder('latin1').decode(data)) });
  pio.map(0x60, 1, 'i8042 data', keyboard.data);
  pio.map(0x64, 1, 'i8042 command', keyboard.command);
  pio.map(0x3f8, 8, 'COM1', serial);
  const post = new PostPort();
  pio.map(0x80, 1, 'POST', post);
  pio.map(0xe9, 1, 'debug port', debugPort);

  // PCI
  const pci = new PciBus({ pio, mmio, intx: INTX_GSIS.map((gsi, n) => bothLines(pins[gsi]!, isa(INTX_PIC_IRQS[n]!))) as never });
  const configPorts = new ConfigPorts(pci, resetControl);
  const bridge = new HostBridge(ECAM);
  pci.attach(0, bridge.pci);
  pio.map(0xcf8, 8, 'PCI configuration', configPorts);
  mmio.map(ECAM, ECAM_BUS_SIZE, 'ECAM', new Ecam(pci));
  const virtio: VirtioPci[] = [];
  const plug = <D extends VirtioDevice>(device: D): D => {
    const transport = new VirtioPci(device, { memory, msi, log });
    virtio.push(transport);
    pci.attach(virtio.length, transport.pci);
    return device;
  };
  plug(new VirtioRng(entropy));
  const hvc = options.console && plug(new VirtioConsole([options.console.port], options.console));
  const ports = options.ports && plug(new VirtioConsole(options.ports));
  for (const disk of options.disks ?? []) plug(new VirtioBlk(disk, machine, { log }));
  const nowNs = (): number => clock.epochMs * 1e6 + clock.now();
  const fileSystems = options.fileSystems ?? [];
  for (const { tag, backend } of fileSystems) plug(new VirtioFs(backend, machine, { tag, nowNs, log }));
  const network = options.network && plug(new VirtioNet(options.network.backend, { mac: options.network.mac }));
  plug(new VirtioBalloon(memory));

  const devices: Device[] = [
    keyboard, serial, port61, port92, resetControl, power, hpet, pit, configPorts, bridge, ...virtio, ...chips.devices,
  ] as Device[]; // prettier-ignore

  /** What a reset leaves alone. */
  const lasting: Device[] = [rtc, post, ...fileSystems.map(({ backend }) => new KeptFiles(backend))] as Device[];
  if (options.debugExit) {
    const exit = new IsaDebugExit((value) => machine.end({ kind: 'debug-exit', value }));
    pio.map(DEBUG_EXIT, 4, 'isa-debug-exit', exit);
    const testdev = new PcTestdev(Array.from({ length: 24 }, (_, pin) => pins[pin]!));
    pio.map(0xe0, 4, 'pc-testdev', testdev.ioport);
    pio.map(0xe4, 4, 'pc-testdev flush', testdev.flush);
    pio.map(0xe8, 1, 'pc-testdev byte', testdev.ioport);
    pio.map(0x2000, 24, 'pc-testdev lines', testdev.irqs);
    mmio.map(TESTDEV, 0x10000, 'pc-testdev memory', testdev.memory);
    lasting.push(testdev as Device);
  }

  const [uuid, generation] = [new Uint8Array(16), new Uint8Array(16)];
  entropy.fill(uuid);
  entropy.fill(generation);

  /** Firmware's work: tables, BARs, kernel, registers. */
  const boot = async (): Promise<void> => {
    assignBars(pci, { mmio: { base: PCI_MMIO.base, size: PCI_MMIO.size }, io: PCI_IO });
    chips.enableVirtualWire();
    const { memoryMap, acpiRsdp } = installFirmware(memory, description, {
      manufacturer: 'Daybreak',
      product: 'Daybreak PC',
      version: '1',
      uuid,
      generation,
    });
    const plan = await loadKernel(memory, { ...options.kernel!, memoryMap, acpiRsdp });
    vcpu.setRegisters(plan.registers);
  };
  const restart = (): void => {
    machine.hold(async () => {
      rtc.resetPin();
      for (const device of devices) resetDevice(device);
      vcpu.reset();
      await boot();
    });
  };
  machine.attach(vcpu, reset);
  for (const device of devices) device.sync();

  // Saved states. Those come first that drive lines, then those that take what the lines did as it was.
  const saving = [...lasting, ...devices];
  const parts = { memoryBytes: options.memoryBytes, cpu: accelerator.cpu, cpus, disks: options.disks ?? [], fileSystems, devices: saving };
  const settled = async (): Promise<void> => {
    await Promise.all(virtio.map(({ device }) => device.quiesce?.()));
    await Promise.all(parts.disks.map((disk) => disk.readOnly || disk.flush()));
  };
  const save: Pc['save'] = (codec, write, then) =>
    machine.whilePaused(settled, async () => {
      clock.advanceTo(clock.now());
      // Timers that are due go off before, not after: where the machine goes on they may be others' than ours.
      for (let n = 0; n < EXPIRIES && clock.nextDeadlineNs <= clock.now(); n++) clock.expire();
      const processors = chips.processors.map((one) => one.architecture());
      // A processor that goes on forgets what is no state (translations, code), as the one that is restored.
      chips.processors.forEach((one, n) => one.setArchitecture(processors[n]!));
      const clockNs = clock.now();
      const described = await describePc(parts, { clockNs, wallMs: Math.floor(epochMs + clockNs / 1e6), processors });
      await write(writeState(described, memory, codec));
      if (then === 'end') machine.end({ kind: 'stopped' });
    });
  const restore = async ({ state: from, identity, onlyAsked, onPage }: RestoreOptions): Promise<void> => {
    await checkFit(from, parts);
    try {
      memory.supplyFrom(new StatePages(from.opened, memory.sizeBytes, from.name, onPage));
      clock.restore(from.clockNs);
      saving.forEach((device, n) => restoreDevice(device, from.devices[n]!.data));
      const processors = processorsOf(from);
      chips.processors.forEach((one, n) => one.setArchitecture(processors[n]!));
    } catch (error) {
      throw inFile(from.name, error);
    }
    rtc.letPass(options.epochMs - from.wallMs);
    const known = memory.view(GENERATION_ID, generation.length)!;
    if (identity === 'same') generation.set(known);
    else {
      known.set(generation);
      memory.written(GENERATION_ID, generation.length);
      power.raiseGpe(GENERATION_GPE);
    }
    if (!onlyAsked && !onPage) void bringRest();
  };
  /** Brings the pages that nobody has asked for yet, a few at a time between the machine's slices. */
  const bringRest = async (): Promise<void> => {
    try {
      while (!machine.over) {
        const end = options.pace.nowMs() + BRING_MS;
        do if (!memory.bringSome()) return;
        while (options.pace.nowMs() < end);
        await options.pace.breathe();
      }
    } catch (error) {
      machine.end({ kind: 'failed', error });
    }
  };

  await (options.restore ? restore(options.restore) : boot());
  return { machine, vcpu, serial, console: hvc, ports, network, power, keyboard, save };
}
