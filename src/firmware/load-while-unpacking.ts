import { VmError } from '../base/errors.ts';
import type { GuestMemory } from '../machine/memory.ts';
import { applyPlan, type BootPlan, checkPlan, clearPlan, type KernelRequest, put } from './boot-plan.ts';
import type { BzImage } from './bzimage.ts';
import type { Pieces } from './decompress/output.ts';
import { type Elf, parseElf } from './elf.ts';
import { planVmlinux } from './linux.ts';

export interface PackedVmlinux {
  readonly request: KernelRequest;
  readonly image: BzImage;
  readonly pieces: Pieces;
  /** What the pieces are together. */
  readonly fileBytes: number;
}

/**
 * Loads a vmlinux while it is unpacked, so that the whole of it is nowhere but in guest memory. Answers undefined, and has written nothing,
 * when its first piece does not say where everything goes. Throws what the unpacking does; then there are zeros where something was written.
 */
export async function loadWhileUnpacking(memory: GuestMemory, packed: PackedVmlinux): Promise<BootPlan | undefined> {
  let ahead: Ahead | undefined;
  let at = 0;
  try {
    for await (const piece of packed.pieces) {
      if (ahead) putSegments(memory, ahead.elf, at, piece);
      else {
        ahead = planAhead(memory, packed, piece);
        if (!ahead) return undefined;
        applyPlan(memory, ahead.plan);
      }
      at += piece.length;
    }
  } catch (error) {
    if (ahead) clearPlan(memory, ahead.plan);
    throw error;
  }
  return ahead?.plan;
}

interface Ahead {
  readonly elf: Elf;
  /** With what of the segments is in the first piece; the rest comes later. */
  readonly plan: BootPlan;
}

/** Undefined also for a kernel that must be refused: whether its data is damaged is known later, and would be the better reason. */
function planAhead(memory: GuestMemory, { request, image, fileBytes }: PackedVmlinux, head: Uint8Array): Ahead | undefined {
  try {
    const elf = parseElf(head, request.name, fileBytes);
    const plan = planVmlinux(request, elf, head, image);
    checkPlan(memory, plan, request.name);
    return { elf, plan };
  } catch (error) {
    if (error instanceof VmError) return undefined;
    throw error;
  }
}

/** Puts those bytes of a piece that belong to segments; the piece begins `at` bytes into the file. */
function putSegments(memory: GuestMemory, elf: Elf, at: number, piece: Uint8Array): void {
  for (const { offset, fileSize, paddr } of elf.segments) {
    const from = Math.max(offset, at);
    const to = Math.min(offset + fileSize, at + piece.length);
    if (from < to) put(memory, paddr + from - offset, piece.subarray(from - at, to - at));
  }
}
