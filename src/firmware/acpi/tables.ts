/** The fixed ACPI tables, each as bytes with its checksum. ACPI 6.5, section 5.2; IA-PC HPET 1.0a; PCI Firmware 3.3, 4.1.2. */
import { ByteWriter, checksum } from '../byte-writer.ts';
import type { BoardDescription } from './description.ts';

const OEM_ID = 'DAYBRK';
const OEM_TABLE_ID = 'DAYBREAK';
const CREATOR_ID = 'DAYB';

/** A system description table: the 36-byte header and `body`. 5.2.6. */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = new ByteWriter()
    .text(signature, 4)
    .u32(36 + body.length)
    .u8(revision, 0)
    .text(OEM_ID, 6)
    .text(OEM_TABLE_ID, 8)
    .u32(1)
    .text(CREATOR_ID, 4)
    .u32(1)
    .bytes(body)
    .toBytes();
  bytes[9] = checksum(bytes);
  return bytes;
}

export const dsdt = (body: Uint8Array): Uint8Array => table('DSDT', 2, body);

/** Firmware control structure: no waking vector, a free global lock. 5.2.10. */
export const facs = (): Uint8Array => new ByteWriter().text('FACS', 4).u32(64, 0, 0, 0, 0).u64(0).u8(2).zeros(31).toBytes();

const IO_SPACE = 1;
/** Generic address of an I/O port block. Access size 1 is byte, 2 word, 3 dword. 5.2.3.2. */
function ioAddress(out: ByteWriter, port: number, bytes: number, access: number): void {
  out.u8(IO_SPACE, Math.min(bytes * 8, 255), 0, access).u64(port);
}
const absent = (out: ByteWriter): void => void out.zeros(12);

// Fixed feature flags, table 5.10.
const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
/** Set: there is no fixed-feature sleep button. The power button's flag stays clear: it is a fixed feature. */
const SLP_BUTTON = 1 << 5;
/** Set: the RTC's wake status is not in the PM1 registers. */
const FIX_RTC = 1 << 6;
const RESET_REG_SUP = 1 << 10;
// IA-PC boot architecture flags, table 5.11.
const LEGACY_DEVICES = 1 << 0;
const HAS_8042 = 1 << 1;
const VGA_NOT_PRESENT = 1 << 2;
const CMOS_RTC_NOT_PRESENT = 1 << 5;
/** Above 100 and 1000 µs: the processor has neither C2 nor C3. */
const NO_C2_LATENCY = 101;
const NO_C3_LATENCY = 1001;

export function fadt(board: BoardDescription, facsAddress: number, dsdtAddress: number): Uint8Array {
  const { power, reset, rtc, ps2, vga } = board;
  const bootArch = LEGACY_DEVICES | (ps2 ? HAS_8042 : 0) | (vga ? 0 : VGA_NOT_PRESENT) | (rtc ? 0 : CMOS_RTC_NOT_PRESENT);
  const out = new ByteWriter()
    .u32(facsAddress, dsdtAddress)
    .u8(0, 0) // reserved; preferred profile: unspecified
    .u16(board.sciGsi)
    .u32(power.smiCommand.port)
    .u8(power.smiCommand.enable, power.smiCommand.disable, 0, 0)
    .u32(power.pm1aEvent, 0, power.pm1aControl, 0, 0, power.pmTimer, power.gpe0.port, 0)
    .u8(4, 2, 0, 4, power.gpe0.length, 0, 0, 0) // lengths of the blocks above
    .u16(NO_C2_LATENCY, NO_C3_LATENCY, 0, 0)
    .u8(0, 0, 0, 0, rtc?.centuryIndex ?? 0)
    .u16(bootArch)
    .u8(0)
    .u32(WBINVD | PROC_C1 | SLP_BUTTON | FIX_RTC | RESET_REG_SUP);
  ioAddress(out, reset.port, 1, 1);
  out.u8(reset.value).u16(0).u8(3).u64(0, dsdtAddress); // minor version 6.3; FIRMWARE_CTRL is used instead of X_
  ioAddress(out, power.pm1aEvent, 4, 2);
  absent(out);
  ioAddress(out, power.pm1aControl, 2, 2);
  absent(out);
  absent(out);
  ioAddress(out, power.pmTimer, 4, 3);
  ioAddress(out, power.gpe0.port, power.gpe0.length, 1);
  absent(out);
  absent(out); // sleep control and status: only for hardware-reduced ACPI
  absent(out);
  out.text(OEM_ID, 8);
  return table('FACP', 6, out.toBytes());
}

const PCAT_COMPAT = 1;
/** MPS INTI flags: active high, level-triggered. Table 5.26. */
const ACTIVE_HIGH_LEVEL = 0x000d;
const EVERY_PROCESSOR = 0xff;

/** 5.2.12. The PIT's IRQ 0 arrives at GSI 2, as on every PC whose pin 0 carries the 8259s' output. */
export function madt(board: BoardDescription): Uint8Array {
  const out = new ByteWriter().u32(board.localApic, PCAT_COMPAT);
  for (let id = 0; id < board.cpus; id++) out.u8(0, 8, id, id).u32(1);
  out.u8(1, 12, board.ioApic.id, 0).u32(board.ioApic.address, 0);
  out.u8(2, 10, 0, 0).u32(2).u16(0);
  out.u8(2, 10, 0, board.sciGsi).u32(board.sciGsi).u16(ACTIVE_HIGH_LEVEL);
  out.u8(4, 6, EVERY_PROCESSOR).u16(0).u8(1);
  return table('APIC', 4, out.toBytes());
}

/** Vendor 0x8086, legacy replacement capable, 64-bit counter, 3 comparators, revision 1: as the chip's own ID register. */
const HPET_BLOCK_ID = 0x8086_a201;

export function hpet(address: number): Uint8Array {
  const out = new ByteWriter().u32(HPET_BLOCK_ID).u8(0, 64, 0, 0).u64(address).u8(0).u16(0).u8(0);
  return table('HPET', 1, out.toBytes());
}

export function mcfg(ecam: { base: number; buses: number }): Uint8Array {
  const out = new ByteWriter()
    .zeros(8)
    .u64(ecam.base)
    .u16(0)
    .u8(0, ecam.buses - 1)
    .u32(0);
  return table('MCFG', 1, out.toBytes());
}

export const rsdt = (addresses: readonly number[]): Uint8Array => table('RSDT', 1, new ByteWriter().u32(...addresses).toBytes());
export const xsdt = (addresses: readonly number[]): Uint8Array => table('XSDT', 1, new ByteWriter().u64(...addresses).toBytes());

/** Root pointer, revision 2, with both of its checksums. 5.2.5.3. */
export function rsdp(rsdtAddress: number, xsdtAddress: number): Uint8Array {
  const bytes = new ByteWriter().text('RSD PTR ', 8).u8(0).text(OEM_ID, 6).u8(2).u32(rsdtAddress, 36).u64(xsdtAddress).zeros(4).toBytes();
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}
