import type { BoardDescription } from '../acpi/description.ts';

/** A board as a PC might describe itself, for tests. */
export const pcDescription: BoardDescription = {
  cpus: 2,
  localApic: 0xfee0_0000,
  ioApic: { id: 2, address: 0xfec0_0000 },
  sciGsi: 9,
  reset: { port: 0xcf9, value: 0x0e },
  power: {
    pm1aEvent: 0x600,
    pm1aControl: 0x604,
    pmTimer: 0x608,
    gpe0: { port: 0x620, length: 4 },
    smiCommand: { port: 0xb2, enable: 0xf1, disable: 0xf0 },
    s5SleepType: 5,
  },
  hpet: 0xfed0_0000,
  generation: { address: 0xe_f000, gpe: 0x1b },
  pci: {
    ecam: { base: 0xb000_0000, buses: 256 },
    mmio: { base: 0xc000_0000, size: 0x3ec0_0000 },
    mmio64: { base: 0x80_0000_0000, size: 0x10_0000_0000 },
    gsis: [16, 17, 18, 19],
    picIrqs: [10, 11, 10, 11],
  },
  rtc: { port: 0x70, irq: 8, centuryIndex: 0x32 },
  ps2: { keyboardIrq: 1, mouseIrq: 12 },
  serial: [
    { port: 0x3f8, irq: 4 },
    { port: 0x2f8, irq: 3 },
  ],
  vga: true,
};
