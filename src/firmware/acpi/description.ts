/**
 * What firmware must know about a board to describe it to a guest. The board owns every address and interrupt
 * number; firmware only writes them down.
 */

/** What a stretch of guest-physical addresses is, in the words of the BIOS's E820 call. ACPI 6.5, section 15. */
export type MemoryKind = 'ram' | 'reserved' | 'acpi' | 'nvs';

export interface MemoryMapEntry {
  readonly base: number;
  readonly size: number;
  readonly kind: MemoryKind;
}

/** Inclusive of `base`, exclusive of `base + size`. */
export interface AddressRange {
  readonly base: number;
  readonly size: number;
}

/** A legacy device on the ISA side: where it is and which IRQ it raises. */
export interface IsaDevice {
  readonly port: number;
  readonly irq: number;
}

export interface BoardDescription {
  /** Processors; their local APIC ids are 0 to cpus - 1. */
  readonly cpus: number;
  readonly localApic: number;
  readonly ioApic: { readonly id: number; readonly address: number };
  /** GSI of ACPI's own interrupt: level-triggered, active high. */
  readonly sciGsi: number;
  /** Port and value of the FADT's reset register. */
  readonly reset: { readonly port: number; readonly value: number };
  readonly power: {
    /** PM1a event block (4 bytes), PM1a control (2), PM timer (4) and GPE0 block, as I/O ports. */
    readonly pm1aEvent: number;
    readonly pm1aControl: number;
    readonly pmTimer: number;
    readonly gpe0: { readonly port: number; readonly length: number };
    /** Port that takes the commands to switch ACPI mode on and off. */
    readonly smiCommand: { readonly port: number; readonly enable: number; readonly disable: number };
    /** SLP_TYP value that switches the machine off. */
    readonly s5SleepType: number;
  };
  readonly hpet?: number;
  /** Guest-physical address of 16 bytes that are others in each copy of a machine, and the GPE that tells of a change. */
  readonly generation?: { readonly address: number; readonly gpe: number };
  readonly pci?: {
    /** Memory-mapped configuration space; `buses` from bus 0. */
    readonly ecam?: { readonly base: number; readonly buses: number };
    /** Where BARs below 4 GiB may be. */
    readonly mmio: AddressRange;
    /** Where 64-bit BARs above 4 GiB may be. */
    readonly mmio64?: AddressRange;
    /** GSI of INTA, INTB, INTC and INTD of slot 0 in APIC mode; each next slot is rotated by one. */
    readonly gsis: readonly [number, number, number, number];
    /** The same in PIC mode, where a GSI is an IRQ of the 8259s. */
    readonly picIrqs: readonly [number, number, number, number];
  };
  /** CMOS index of the century byte, 0 when there is none. */
  readonly rtc?: IsaDevice & { readonly centuryIndex: number };
  /** i8042: ports 0x60 and 0x64. */
  readonly ps2?: { readonly keyboardIrq: number; readonly mouseIrq?: number };
  readonly serial: readonly IsaDevice[];
  /** True when there is a VGA-compatible adapter at 0xA0000. */
  readonly vga: boolean;
}
