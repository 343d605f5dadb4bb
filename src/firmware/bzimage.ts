/** The setup header of a bzImage. Linux boot protocol ("The Linux/x86 Boot Protocol"), 2.02 to 2.15. */
import { VmError } from '../base/errors.ts';

export const SETUP_HEADER = 0x1f1;
const HDRS = 0x5372_6448;
const SECTOR = 512;
const LOADED_HIGH = 1 << 0;
const XLF_KERNEL_64 = 1 << 0;
const OLD_INITRD_MAX = 0x37ff_ffff;
const OLD_COMMAND_LINE_MAX = 255;

export interface BzImage {
  /** 0x0206 for protocol 2.06. */
  readonly version: number;
  /** The setup header as it stands in the file, from offset 0x1f1 on: what boot_params begins its own with. */
  readonly header: Uint8Array;
  /** Real-mode part cut off: what is loaded at `loadAddress`. */
  readonly body: Uint8Array;
  readonly loadAddress: number;
  /** Bytes from `loadAddress` on that the kernel uses before it knows the memory map. */
  readonly initSize: number;
  readonly has64BitEntry: boolean;
  /** Highest address that the initrd may occupy. */
  readonly initrdMax: number;
  readonly commandLineMax: number;
  /** The compressed kernel with its 4-byte size trailer; undefined when the protocol is too old to tell. */
  readonly payload: Uint8Array | undefined;
}

export function isBzImage(file: Uint8Array): boolean {
  return file.length >= 0x206 && new DataView(file.buffer, file.byteOffset, file.length).getUint32(0x202, true) === HDRS;
}

export function parseBzImage(file: Uint8Array, name: string): BzImage {
  const bad = (why: string): VmError => new VmError('bad-image', `${name}: not a usable bzImage: ${why}`);
  if (!isBzImage(file)) throw bad('there is no "HdrS" at offset 0x202');
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const version = view.getUint16(0x206, true);
  const readable = `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`;
  if (version < 0x202) throw new VmError('unsupported', `${name}: boot protocol ${readable} is not supported (2.02 and later are)`);
  const headerEnd = 0x202 + file[0x201]!;
  const setupSize = ((file[SETUP_HEADER]! || 4) + 1) * SECTOR;
  if (setupSize >= file.length || headerEnd > setupSize || headerEnd < 0x22c) {
    throw bad(`its setup code of ${setupSize} bytes does not fit the file of ${file.length} bytes`);
  }
  if (!(file[0x211]! & LOADED_HIGH)) throw new VmError('unsupported', `${name}: a zImage, loaded below 1 MiB; only bzImage is supported`);

  const since = (protocol: number): boolean => version >= protocol;
  const body = file.subarray(setupSize);
  const prefers = since(0x20a) ? Number(view.getBigUint64(0x258, true)) : 0;
  const relocatable = since(0x205) && file[0x234] !== 0;
  const loadAddress = relocatable && prefers ? prefers : view.getUint32(0x214, true);
  if (loadAddress < 0x10_0000 || loadAddress > 0xffff_ffff) throw bad(`it wants to be loaded at 0x${loadAddress.toString(16)}`);
  return {
    version,
    header: file.slice(SETUP_HEADER, headerEnd),
    body,
    loadAddress,
    initSize: Math.max(body.length, since(0x20a) ? view.getUint32(0x260, true) : 0),
    has64BitEntry: since(0x20c) && (view.getUint16(0x236, true) & XLF_KERNEL_64) !== 0,
    initrdMax: since(0x203) ? view.getUint32(0x22c, true) : OLD_INITRD_MAX,
    commandLineMax: since(0x206) ? view.getUint32(0x238, true) || OLD_COMMAND_LINE_MAX : OLD_COMMAND_LINE_MAX,
    payload: since(0x208) ? payload(view, body, bad) : undefined,
  };
}

function payload(view: DataView, body: Uint8Array, bad: (why: string) => VmError): Uint8Array | undefined {
  const offset = view.getUint32(0x248, true);
  const length = view.getUint32(0x24c, true);
  if (offset === 0 || length === 0) return undefined;
  if (offset + length > body.length)
    throw bad(`its payload of ${length} bytes at ${offset} lies beyond the end of the file: is it cut off?`);
  return body.subarray(offset, offset + length);
}
