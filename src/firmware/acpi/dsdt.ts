/** The DSDT's AML: what of the board a kernel cannot find by probing. ACPI 6.5, sections 5.2.11, 6.2.13, 7.4.2. */
import type { BoardDescription } from './description.ts';
import * as aml from './aml.ts';
import type { Aml } from './aml.ts';

const PCI_SLOTS = 32;
const PCI_CONFIG_PORT = 0xcf8;
const PCI_CONFIG_PORTS = 8;
const VGA_WINDOW = { base: 0xa_0000, size: 0x2_0000 };

const hid = (id: string): Aml => aml.name('_HID', aml.eisaId(id));
const crs = (...descriptors: Aml[]): Aml => aml.name('_CRS', aml.resources(...descriptors));

/** _PRT: which GSI each slot's INTA to INTD raises, rotated by slot. The source 0 means "that GSI". 6.2.13. */
function routing(gsis: readonly number[]): Aml {
  const entries: Aml[] = [];
  for (let slot = 0; slot < PCI_SLOTS; slot++) {
    for (let pin = 0; pin < 4; pin++) {
      const gsi = gsis[(slot + pin) % 4]!;
      entries.push(aml.packageOf(aml.integer(slot * 0x1_0000 + 0xffff), aml.integer(pin), aml.integer(0), aml.integer(gsi)));
    }
  }
  return aml.packageOf(...entries);
}

function hostBridge(pci: NonNullable<BoardDescription['pci']>, vga: boolean, children: Aml[]): Aml {
  const portsAbove = PCI_CONFIG_PORT + PCI_CONFIG_PORTS;
  return aml.device(
    'PCI0',
    ...(pci.ecam ? [hid('PNP0A08'), aml.name('_CID', aml.eisaId('PNP0A03'))] : [hid('PNP0A03')]),
    aml.name('_UID', aml.integer(0)),
    aml.name('_BBN', aml.integer(0)),
    aml.name('_SEG', aml.integer(0)),
    crs(
      aml.busNumbers(0, pci.ecam?.buses ?? 256),
      aml.ioPorts(PCI_CONFIG_PORT, PCI_CONFIG_PORTS),
      aml.ioWindow(0, PCI_CONFIG_PORT),
      aml.ioWindow(portsAbove, 0x1_0000 - portsAbove),
      ...(vga ? [aml.memoryWindow(VGA_WINDOW.base, VGA_WINDOW.size)] : []),
      aml.memoryWindow(pci.mmio.base, pci.mmio.size),
      ...(pci.mmio64 ? [aml.memoryWindow64(pci.mmio64.base, pci.mmio64.size)] : []),
    ),
    aml.name('PRTP', routing(pci.picIrqs)),
    aml.name('PRTA', routing(pci.gsis)),
    aml.method('_PRT', 0, aml.when(aml.path('PICM'), aml.giveBack(aml.path('PRTA'))), aml.giveBack(aml.path('PRTP'))),
    ...children,
  );
}

/** What no driver claims but nothing else may use. */
function motherboard(board: BoardDescription): Aml {
  const { power, pci } = board;
  return aml.device(
    'MBRD',
    hid('PNP0C02'),
    aml.name('_UID', aml.integer(0)),
    crs(
      aml.ioPorts(power.pm1aEvent, 4),
      aml.ioPorts(power.pm1aControl, 2),
      aml.ioPorts(power.pmTimer, 4),
      aml.ioPorts(power.gpe0.port, power.gpe0.length),
      ...(pci?.ecam ? [aml.memory32(pci.ecam.base, pci.ecam.buses * 2 ** 20)] : []),
    ),
  );
}

function isaDevices(board: BoardDescription): Aml[] {
  const devices: Aml[] = [];
  if (board.rtc) devices.push(aml.device('RTC', hid('PNP0B00'), crs(aml.ioPorts(board.rtc.port, 8), aml.irq(board.rtc.irq))));
  if (board.ps2) {
    const { keyboardIrq, mouseIrq } = board.ps2;
    devices.push(aml.device('KBD', hid('PNP0303'), crs(aml.ioPorts(0x60, 1), aml.ioPorts(0x64, 1), aml.irq(keyboardIrq))));
    if (mouseIrq !== undefined) devices.push(aml.device('MOU', hid('PNP0F13'), crs(aml.irq(mouseIrq))));
  }
  for (const [index, { port, irq }] of board.serial.entries()) {
    const uid = aml.name('_UID', aml.integer(index + 1));
    devices.push(aml.device(`COM${index + 1}`, hid('PNP0501'), uid, crs(aml.ioPorts(port, 8), aml.irq(irq))));
  }
  if (board.hpet !== undefined) devices.push(aml.device('HPET', hid('PNP0103'), crs(aml.memory32(board.hpet, 0x400))));
  return devices;
}

const GENERATION = 'VGEN';

/**
 * Microsoft's "Virtual Machine Generation ID" (2012): ADDR gives the identifier's address in two halves. The second name is the one
 * that has the length of an ACPI id.
 */
function generation({ address }: NonNullable<BoardDescription['generation']>): Aml {
  return aml.device(
    GENERATION,
    aml.name('_HID', aml.text('DAYB0001')),
    aml.name('_CID', aml.packageOf(aml.text('VM_Gen_Counter'), aml.text('VMGENCTR'))),
    aml.name('_DDN', aml.text('VM_Gen_Counter')),
    aml.name('ADDR', aml.packageOf(aml.integer(address), aml.integer(0))),
  );
}

/** Tells the device's driver of a change, once for each edge. 5.6.4. */
function generationEvent({ gpe }: NonNullable<BoardDescription['generation']>): Aml {
  const method = `_E${gpe.toString(16).toUpperCase().padStart(2, '0')}`;
  return aml.scope('\\_GPE', aml.method(method, 0, aml.notify(`\\_SB.${GENERATION}`, 0x80)));
}

/** The definition block's body, without the table header. */
export function dsdtBody(board: BoardDescription): Uint8Array {
  const { s5SleepType } = board.power;
  const devices = isaDevices(board);
  const counter = board.generation;
  const sleepOff = aml.packageOf(aml.integer(s5SleepType), aml.integer(s5SleepType), aml.integer(0), aml.integer(0));
  return Uint8Array.from([
    // The kernel tells by _PIC whether it uses the 8259s (0) or the I/O APIC (1).
    ...aml.name('PICM', aml.integer(0)),
    ...aml.method('_PIC', 1, aml.store(aml.arg(0), aml.path('PICM'))),
    ...aml.name('_S5', sleepOff),
    ...aml.scope(
      '\\_SB',
      motherboard(board),
      ...(board.pci ? [hostBridge(board.pci, board.vga, devices)] : devices),
      ...(counter ? [generation(counter)] : []),
    ),
    ...(counter ? generationEvent(counter) : []),
  ]);
}
