import { VmError } from '../base/errors.ts';
import { type Load, load } from './boot-plan.ts';
import type { Elf } from './elf.ts';
import { ONE_MIB } from './memory-map.ts';

/** An ELF kernel's segments for guest memory, with their bytes as far as `file` has them. Below 1 MiB is where boot protocols put what they hand over: refused. */
export function elfLoads(elf: Elf, file: Uint8Array, name: string): Load[] {
  if (elf.start < ONE_MIB) {
    throw new VmError('bad-image', `${name}: wants to be loaded at 0x${elf.start.toString(16)}; ELF kernels here begin at 1 MiB or above`);
  }
  return elf.segments.map(({ index, paddr, offset, fileSize, memorySize }) => {
    const data = file.subarray(offset, offset + fileSize);
    return load(`segment ${index}`, paddr, data, memorySize, fileSize - data.length);
  });
}
