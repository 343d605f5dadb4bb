/** The one door for kernels: tells formats apart, unpacks what is packed, and puts everything into guest memory. */
import { VmError } from '../base/errors.ts';
import type { GuestMemory } from '../machine/memory.ts';
import { applyPlan, type BootPlan, type KernelRequest } from './boot-plan.ts';
import { isBzImage, parseBzImage } from './bzimage.ts';
import { compressionOf, decompress } from './decompress/decompress.ts';
import { isElf, parseElf } from './elf.ts';
import { planBzImage, planVmlinux } from './linux.ts';
import { findMultibootHeader, planMultiboot } from './multiboot.ts';
import { planPvh, pvhEntry } from './pvh.ts';

/** More than any kernel unpacks to; a bound against bombs. */
const KERNEL_MAX = 512 * 2 ** 20;

/**
 * Loads a bzImage, an ELF kernel (PVH, Linux) or a multiboot kernel, possibly compressed as a whole, and its initrd.
 * Answers how it starts: what to give the boot processor after its reset.
 * Throws `bad-image` when the file is malformed, `unsupported` or `usage` when it cannot be loaded here; then
 * nothing was written.
 */
export async function loadKernel(memory: GuestMemory, request: KernelRequest): Promise<BootPlan> {
  const plan = await planKernel(request);
  applyPlan(memory, plan, request.name);
  return plan;
}

async function planKernel(request: KernelRequest): Promise<BootPlan> {
  const { kernel, name } = request;
  if (isBzImage(kernel)) return planLinux(request);
  const header = findMultibootHeader(kernel);
  if (header) return planMultiboot(request, header);
  if (isElf(kernel)) {
    const elf = parseElf(kernel, name);
    const entry = pvhEntry(elf);
    return entry === undefined ? planVmlinux(request, elf, undefined) : planPvh(request, elf, entry);
  }
  if (compressionOf(kernel)) {
    const unpacked = await decompress(kernel, { what: name, maximumBytes: KERNEL_MAX });
    if (compressionOf(unpacked)) throw new VmError('bad-image', `${name}: is compressed twice; unpack it first`);
    return planKernel({ ...request, kernel: unpacked });
  }
  throw new VmError('bad-image', `${name}: is not a kernel this machine can load (bzImage, ELF with PVH note, vmlinux or multiboot)`);
}

/** The kernel inside a bzImage starts at once when it is unpacked here; else it unpacks itself in the guest. */
async function planLinux(request: KernelRequest): Promise<BootPlan> {
  const { kernel, name } = request;
  const image = parseBzImage(kernel, name);
  const { payload } = image;
  const compression = payload && compressionOf(payload);
  if (!payload || !compression || payload.length < 8) return planBzImage(request, image);
  const expectedBytes = new DataView(payload.buffer, payload.byteOffset + payload.length - 4, 4).getUint32(0, true);
  // gzip ends with its own size, so there the last four bytes are part of the stream.
  const stream = compression === 'gzip' ? payload : payload.subarray(0, -4);
  const vmlinux = await decompress(stream, { what: `the kernel in ${name}`, maximumBytes: KERNEL_MAX, expectedBytes });
  return isElf(vmlinux) ? planVmlinux(request, parseElf(vmlinux, name), image) : planBzImage(request, image);
}
