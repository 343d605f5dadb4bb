/** `Registers` to and from struct kvm_regs and struct kvm_sregs. */
import type { Registers, Segment, SegmentName } from '../../machine/vcpu.ts';
import { KVM_SEGMENT_BYTES, SREGS } from './abi.ts';

/** Places in kvm_regs of rax rcx rdx rbx rsp rbp rsi rdi r8…r15. */
const GPRS = [0, 16, 24, 8, 48, 56, 32, 40, 64, 72, 80, 88, 96, 104, 112, 120];
const RIP = 128;
const RFLAGS = 136;
/** In the order of kvm_sregs. */
const SEGMENTS: readonly SegmentName[] = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldtr'];

const UNUSABLE = 1 << 16;

function readSegment(view: DataView, at: number): Segment {
  const bit = (offset: number, shift: number): number => view.getUint8(at + offset) << shift;
  return {
    base: view.getBigUint64(at, true),
    limit: view.getUint32(at + 8, true),
    selector: view.getUint16(at + 12, true),
    // type, present, dpl, db, s, l, g, avl, unusable
    attributes: bit(14, 0) | bit(15, 7) | bit(16, 5) | bit(17, 14) | bit(18, 4) | bit(19, 13) | bit(20, 15) | bit(21, 12) | bit(22, 16),
  };
}

function writeSegment(view: DataView, at: number, { base, limit, selector, attributes }: Segment): void {
  view.setBigUint64(at, BigInt.asUintN(64, base), true);
  view.setUint32(at + 8, limit, true);
  view.setUint16(at + 12, selector, true);
  const field = (offset: number, shift: number, mask = 1): void => view.setUint8(at + offset, (attributes >> shift) & mask);
  field(14, 0, 15);
  // An unusable segment is not present, whatever its other bits say.
  view.setUint8(at + 15, attributes & UNUSABLE ? 0 : (attributes >> 7) & 1);
  field(16, 5, 3);
  field(17, 14);
  field(18, 4);
  field(19, 13);
  field(20, 15);
  field(21, 12);
  field(22, 16);
}

export function readRegisters(regs: DataView, sregs: DataView): Registers {
  const u64 = (at: number): bigint => sregs.getBigUint64(at, true);
  const table = (at: number): { base: bigint; limit: number } => ({ base: u64(at), limit: sregs.getUint16(at + 8, true) });
  return {
    gpr: GPRS.map((at) => regs.getBigUint64(at, true)),
    rip: regs.getBigUint64(RIP, true),
    rflags: regs.getBigUint64(RFLAGS, true),
    segments: Object.fromEntries(SEGMENTS.map((name, n) => [name, readSegment(sregs, n * KVM_SEGMENT_BYTES)])) as Record<
      SegmentName,
      Segment
    >,
    gdtr: table(SREGS.gdt),
    idtr: table(SREGS.idt),
    cr0: u64(SREGS.cr0),
    cr2: u64(SREGS.cr2),
    cr3: u64(SREGS.cr3),
    cr4: u64(SREGS.cr4),
    efer: u64(SREGS.efer),
  };
}

/** Changes what is given, and nothing else. */
export function writeRegisters(regs: DataView, sregs: DataView, registers: Partial<Registers>): void {
  const u64 = (view: DataView, at: number, value: bigint | undefined): void => {
    if (value !== undefined) view.setBigUint64(at, BigInt.asUintN(64, value), true);
  };
  registers.gpr?.forEach((value, n) => u64(regs, GPRS[n]!, value));
  u64(regs, RIP, registers.rip);
  u64(regs, RFLAGS, registers.rflags);
  const { segments } = registers;
  if (segments) SEGMENTS.forEach((name, n) => writeSegment(sregs, n * KVM_SEGMENT_BYTES, segments[name]));
  for (const name of ['gdt', 'idt'] as const) {
    const table = registers[`${name}r`];
    u64(sregs, SREGS[name], table?.base);
    if (table) sregs.setUint16(SREGS[name] + 8, table.limit, true);
  }
  for (const name of ['cr0', 'cr2', 'cr3', 'cr4', 'efer'] as const) u64(sregs, SREGS[name], registers[name]);
}
