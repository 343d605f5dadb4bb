/** The one door for kernels: tells formats apart, unpacks what is packed, and puts everything into guest memory. */
import { VmError } from '../base/errors.ts';
import type { GuestMemory } from '../machine/memory.ts';
import { applyPlan, type BootPlan, checkPlan, type KernelRequest } from './boot-plan.ts';
import { isBzImage, parseBzImage } from './bzimage.ts';
import { compressionOf, decompress, decompressPieces } from './decompress/decompress.ts';
import { isElf, parseElf } from './elf.ts';
import { planBzImage, planVmlinux } from './linux.ts';
import { loadWhileUnpacking } from './load-while-unpacking.ts';
import { findMultibootHeader, planMultiboot } from './multiboot.ts';
import { planPvh, pvhEntry } from './pvh.ts';

/** More than any kernel unpacks to; a bound against bombs. */
const KERNEL_MAX = 512 * 2 ** 20;

/**
 * Loads a bzImage, an ELF kernel (PVH, Linux) or a multiboot kernel, possibly compressed as a whole, and its initrd.
 * Answers how it starts: what to give the boot processor after its reset.
 * Throws `bad-image` when the file is malformed, `unsupported` or `usage` when it cannot be loaded here; then
 * nothing was written, or there are zeros again where it was.
 */
export async function loadKernel(memory: GuestMemory, request: KernelRequest): Promise<BootPlan> {
  const { kernel, name } = request;
  if (isBzImage(kernel)) return loadBzImage(memory, request);
  const header = findMultibootHeader(kernel);
  if (header) return carryOut(memory, planMultiboot(request, header), name);
  if (isElf(kernel)) {
    const elf = parseElf(kernel, name);
    const entry = pvhEntry(elf, kernel);
    return carryOut(memory, entry === undefined ? planVmlinux(request, elf, kernel, undefined) : planPvh(request, elf, entry), name);
  }
  if (compressionOf(kernel)) {
    const unpacked = await decompress(kernel, { what: name, maximumBytes: KERNEL_MAX });
    if (compressionOf(unpacked)) throw new VmError('bad-image', `${name}: is compressed twice; unpack it first`);
    return loadKernel(memory, { ...request, kernel: unpacked });
  }
  throw new VmError('bad-image', `${name}: is not a kernel this machine can load (bzImage, ELF with PVH note, vmlinux or multiboot)`);
}

function carryOut(memory: GuestMemory, plan: BootPlan, name: string): BootPlan {
  checkPlan(memory, plan, name);
  applyPlan(memory, plan);
  return plan;
}

/** The kernel inside a bzImage starts at once when it is unpacked here; else it unpacks itself in the guest. */
async function loadBzImage(memory: GuestMemory, request: KernelRequest): Promise<BootPlan> {
  const { kernel, name } = request;
  const image = parseBzImage(kernel, name);
  const { payload } = image;
  const compression = payload && compressionOf(payload);
  if (!payload || !compression || payload.length < 8) return carryOut(memory, planBzImage(request, image), name);
  const expectedBytes = new DataView(payload.buffer, payload.byteOffset + payload.length - 4, 4).getUint32(0, true);
  // gzip ends with its own size, so there the last four bytes are part of the stream.
  const stream = compression === 'gzip' ? payload : payload.subarray(0, -4);
  const options = { what: `the kernel in ${name}`, maximumBytes: KERNEL_MAX, expectedBytes };
  const plan = await loadWhileUnpacking(memory, { request, image, pieces: decompressPieces(stream, options), fileBytes: expectedBytes });
  if (plan) return plan;
  const vmlinux = await decompress(stream, options);
  return carryOut(
    memory,
    isElf(vmlinux) ? planVmlinux(request, parseElf(vmlinux, name), vmlinux, image) : planBzImage(request, image),
    name,
  );
}
