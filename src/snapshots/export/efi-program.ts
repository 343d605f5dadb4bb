/** A program for UEFI firmware that has a kernel, its initramfs and its command line in it. Microsoft, "PE Format". */
import { EFI_CODE, EFI_PARAMETERS } from './boot-code.ts';

const FILE_ALIGNMENT = 512;
const SECTION_ALIGNMENT = 4096;
const PE_OFFSET = 0x80;
const OPTIONAL_HEADER_BYTES = 240;
const SECTION_HEADER_BYTES = 40;
/** Where the code is linked to. */
const CODE_ADDRESS = 0x1000;
const READ = 0x4000_0000;
const CODE = 0xe000_0020;
const DATA = READ | 0x40;

export interface EfiProgram {
  readonly data: Uint8Array;
  /** In the file, at multiples of 512. */
  readonly kernelOffset: number;
  readonly initrdOffset: number;
}

export function efiProgram(kernel: Uint8Array, initrd: Uint8Array, commandLine: string): EfiProgram {
  const options = new Uint8Array(2 * commandLine.length + 2);
  for (let i = 0; i < commandLine.length; i++) new DataView(options.buffer).setUint16(2 * i, commandLine.charCodeAt(i), true);
  const code = EFI_CODE.slice();
  const contents = [
    ['.text', code, CODE],
    ['.cmdline', options, DATA],
    ['.linux', kernel, DATA],
    ['.initrd', initrd, DATA],
  ] as const;
  const headersBytes = align(PE_OFFSET + 24 + OPTIONAL_HEADER_BYTES + contents.length * SECTION_HEADER_BYTES, FILE_ALIGNMENT);
  let [offset, address] = [headersBytes, CODE_ADDRESS];
  const sections = contents.map(([name, data, flags]) => {
    const section = { name, data, flags, offset, address };
    offset += align(data.length, FILE_ALIGNMENT);
    address += align(Math.max(1, data.length), SECTION_ALIGNMENT);
    return section;
  });
  const [, optionsSection, kernelSection, initrdSection] = sections;
  const parameters = new DataView(code.buffer);
  const set = (at: number, value: number) => parameters.setUint32(at, value, true);
  set(EFI_PARAMETERS.kernel, kernelSection!.address);
  set(EFI_PARAMETERS.kernelBytes, kernel.length);
  set(EFI_PARAMETERS.initrd, initrdSection!.address);
  set(EFI_PARAMETERS.initrdBytes, initrd.length);
  set(EFI_PARAMETERS.options, optionsSection!.address);
  set(EFI_PARAMETERS.optionsBytes, options.length);

  const file = new Uint8Array(offset);
  const view = new DataView(file.buffer);
  view.setUint16(0, 0x5a4d, true);
  view.setUint32(0x3c, PE_OFFSET, true);
  view.setUint32(PE_OFFSET, 0x4550, true);
  view.setUint16(PE_OFFSET + 4, 0x8664, true);
  view.setUint16(PE_OFFSET + 6, sections.length, true);
  view.setUint16(PE_OFFSET + 20, OPTIONAL_HEADER_BYTES, true);
  view.setUint16(PE_OFFSET + 22, 0x0022, true); // executable, large addresses; may be loaded anywhere, since nothing needs relocation
  const optional = PE_OFFSET + 24;
  view.setUint16(optional, 0x20b, true);
  view.setUint32(optional + 4, align(code.length, FILE_ALIGNMENT), true);
  view.setUint32(optional + 16, CODE_ADDRESS, true); // the entry
  view.setUint32(optional + 20, CODE_ADDRESS, true);
  view.setUint32(optional + 32, SECTION_ALIGNMENT, true);
  view.setUint32(optional + 36, FILE_ALIGNMENT, true);
  view.setUint32(optional + 56, address, true);
  view.setUint32(optional + 60, headersBytes, true);
  view.setUint16(optional + 68, 10, true); // an EFI application
  view.setUint32(optional + 108, 16, true); // directories, all empty
  for (const [i, { name, data, flags, offset: at, address: virtual }] of sections.entries()) {
    const header = optional + OPTIONAL_HEADER_BYTES + i * SECTION_HEADER_BYTES;
    file.set(new TextEncoder().encode(name), header);
    view.setUint32(header + 8, data.length, true);
    view.setUint32(header + 12, virtual, true);
    view.setUint32(header + 16, align(data.length, FILE_ALIGNMENT), true);
    view.setUint32(header + 20, at, true);
    view.setUint32(header + 36, flags, true);
    file.set(data, at);
  }
  return { data: file, kernelOffset: kernelSection!.offset, initrdOffset: initrdSection!.offset };
}

function align(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}
