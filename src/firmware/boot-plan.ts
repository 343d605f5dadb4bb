/** What a boot protocol wants done before the first instruction: bytes in guest memory and registers. */
import { VmError } from '../base/errors.ts';
import { type GuestMemory, PAGE_SIZE } from '../machine/memory.ts';
import type { Registers } from '../machine/vcpu.ts';
import type { MemoryMapEntry } from './acpi/description.ts';

/** Bytes for guest memory: `data`, then `later` bytes that somebody else puts there; up to `size` the rest is zeroed. */
export interface Load {
  readonly what: string;
  readonly gpa: number;
  readonly data: Uint8Array;
  readonly later: number;
  /** At least `data.length + later`. */
  readonly size: number;
}

export interface BootPlan {
  readonly protocol: 'linux64' | 'linux32' | 'pvh' | 'multiboot';
  readonly loads: readonly Load[];
  readonly registers: Partial<Registers>;
}

export interface KernelModule {
  readonly data: Uint8Array;
  readonly commandLine: string;
}

/** A kernel and everything it shall be told. */
export interface KernelRequest {
  readonly kernel: Uint8Array;
  /** What to call the kernel in errors: its file name, say. */
  readonly name: string;
  readonly initrd?: Uint8Array | undefined;
  /** What a multiboot kernel is given besides; the initrd, if any, is its first module. */
  readonly modules?: readonly KernelModule[] | undefined;
  readonly commandLine: string;
  readonly memoryMap: readonly MemoryMapEntry[];
  /** Guest-physical address of the ACPI root pointer. */
  readonly acpiRsdp?: number | undefined;
  /** The machine has a VGA-compatible adapter, in 80x25 text mode. */
  readonly textScreen?: boolean | undefined;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

export const load = (what: string, gpa: number, data: Uint8Array, size = data.length, later = 0): Load => ({
  what,
  gpa,
  data,
  later,
  size,
});

/** Throws when any of a plan's bytes would not lie in RAM. */
export function checkPlan(memory: GuestMemory, plan: BootPlan, name: string): void {
  for (const { what, gpa, size } of plan.loads) {
    if (size > 0 && !memory.contains(gpa, size)) {
      const range = `${hex(gpa)} to ${hex(gpa + size - 1)}`;
      throw new VmError('bad-image', `${name}: ${what} belongs at ${range}, which is not all RAM; give the machine more memory`);
    }
  }
}

/** Writes a plan's bytes, which `checkPlan` accepts. */
export function applyPlan(memory: GuestMemory, plan: BootPlan): void {
  for (const { gpa, data, later, size } of plan.loads) {
    put(memory, gpa, data);
    const end = data.length + later;
    memory.clear(gpa + end, size - end);
  }
}

export function put(memory: GuestMemory, gpa: number, data: Uint8Array): void {
  if (data.length === 0) return;
  memory.view(gpa, data.length)!.set(data);
  memory.written(gpa, data.length);
}

/** Leaves zeros where the plan's bytes belong. */
export function clearPlan(memory: GuestMemory, plan: BootPlan): void {
  for (const { gpa, size } of plan.loads) memory.clear(gpa, size);
}

/** Highest page-aligned place for `size` bytes of RAM at or above `lowest` and ending at or below `limit`. */
export function findRoom(map: readonly MemoryMapEntry[], size: number, lowest: number, limit: number): number | undefined {
  for (const entry of map.toReversed()) {
    if (entry.kind !== 'ram') continue;
    const start = Math.max(entry.base, lowest);
    const end = Math.min(entry.base + entry.size, limit);
    const gpa = Math.floor((end - size) / PAGE_SIZE) * PAGE_SIZE;
    if (gpa >= start) return gpa;
  }
  return undefined;
}

/** Where the initrd goes: as high as allowed, so that the kernel can grow below it. */
export function placeInitrd(request: KernelRequest, kernelEnd: number, limit: number): Load | undefined {
  const { initrd, name } = request;
  if (!initrd || initrd.length === 0) return undefined;
  const gpa = findRoom(request.memoryMap, initrd.length, kernelEnd, limit);
  if (gpa === undefined) {
    const mib = Math.ceil(initrd.length / 2 ** 20);
    const why = `there is no room for the initrd (${mib} MiB) between the end of the kernel at ${hex(kernelEnd)} and ${hex(limit)}`;
    throw new VmError('usage', `${name}: ${why}; give the machine more memory or use a smaller initrd`);
  }
  return load('the initrd', gpa, initrd);
}

/** The command line as the guest reads it: UTF-8, ended by a zero. */
export function commandLineBytes(request: KernelRequest, maximum: number): Uint8Array {
  const bytes = new TextEncoder().encode(`${request.commandLine}\0`);
  if (bytes.length - 1 > maximum) {
    throw new VmError('usage', `${request.name}: the command line has ${bytes.length - 1} bytes, and this kernel takes at most ${maximum}`);
  }
  return bytes;
}
