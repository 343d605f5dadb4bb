/** All that KVM keeps of a vCPU besides `kvm_run`, as KVM's own structures. */
import * as K from './abi.ts';
import type { Native } from './native.ts';
import { checked, type KvmSystem } from './system.ts';

interface Part {
  readonly name: string;
  readonly get: number;
  readonly set: number;
  readonly bytes: number;
}

/** In the order in which they are set: registers that others are checked against come first. */
const PARTS = [
  { name: 'sregs', get: K.KVM_GET_SREGS, set: K.KVM_SET_SREGS, bytes: K.KVM_SREGS_BYTES },
  { name: 'regs', get: K.KVM_GET_REGS, set: K.KVM_SET_REGS, bytes: K.KVM_REGS_BYTES },
  { name: 'xcrs', get: K.KVM_GET_XCRS, set: K.KVM_SET_XCRS, bytes: K.KVM_XCRS_BYTES },
  { name: 'xsave', get: K.KVM_GET_XSAVE, set: K.KVM_SET_XSAVE, bytes: K.KVM_XSAVE_BYTES },
  { name: 'debugregs', get: K.KVM_GET_DEBUGREGS, set: K.KVM_SET_DEBUGREGS, bytes: K.KVM_DEBUGREGS_BYTES },
  { name: 'events', get: K.KVM_GET_VCPU_EVENTS, set: K.KVM_SET_VCPU_EVENTS, bytes: K.KVM_VCPU_EVENTS_BYTES },
  { name: 'mpState', get: K.KVM_GET_MP_STATE, set: K.KVM_SET_MP_STATE, bytes: 4 },
] as const satisfies readonly Part[];

/** What only a vCPU with KVM's local APIC has; it belongs to that device, and is no part of the processor's raw state. */
const LAPIC = { name: 'lapic', get: K.KVM_GET_LAPIC, set: K.KVM_SET_LAPIC, bytes: K.KVM_LAPIC_BYTES } as const satisfies Part;

type PartName = (typeof PARTS)[number]['name'];

function partOf(name: PartName | 'lapic'): Part {
  return name === 'lapic' ? LAPIC : PARTS.find((one) => one.name === name)!;
}

/** Bytes of each structure, and the MSRs by index. */
export type RawState = Record<PartName, Uint8Array> & { readonly msrs: ReadonlyMap<number, bigint> };

export function getPart(native: Native, fd: number, name: PartName | 'lapic'): DataView {
  const part = partOf(name);
  const data = new Uint8Array(part.bytes);
  checked(native.ioctlData(fd, part.get, data), `getting ${name}`);
  return new DataView(data.buffer);
}

export function setPart(native: Native, fd: number, name: PartName | 'lapic', data: DataView): void {
  const part = partOf(name);
  checked(native.ioctlData(fd, part.set, new Uint8Array(data.buffer, data.byteOffset, part.bytes)), `setting ${name}`);
}

/** MSRs that this KVM says it keeps. struct kvm_msr_list. */
export function msrIndices(system: KvmSystem): number[] {
  const list = new Uint32Array(1 + 1024);
  list[0] = 1024;
  checked(system.native.ioctlData(system.fd, K.KVM_GET_MSR_INDEX_LIST, new Uint8Array(list.buffer)), 'KVM_GET_MSR_INDEX_LIST');
  return [...list.subarray(1, 1 + list[0])];
}

/** struct kvm_msrs with one entry. */
function oneMsr(index: number, value = 0n): DataView {
  const data = new DataView(new ArrayBuffer(8 + K.KVM_MSR_ENTRY_BYTES));
  data.setUint32(0, 1, true);
  data.setUint32(8, index, true);
  data.setBigUint64(16, value, true);
  return data;
}

/** Undefined when the vCPU has no such register. */
export function getMsr(native: Native, fd: number, index: number): bigint | undefined {
  const data = oneMsr(index);
  const done = native.ioctlData(fd, K.KVM_GET_MSRS, new Uint8Array(data.buffer));
  return done === 1 ? data.getBigUint64(16, true) : undefined;
}

/** False when the register does not exist or refuses the value. */
export function setMsr(native: Native, fd: number, index: number, value: bigint): boolean {
  return native.ioctlData(fd, K.KVM_SET_MSRS, new Uint8Array(oneMsr(index, value).buffer)) === 1;
}

export function getRaw(native: Native, fd: number, msrs: readonly number[]): RawState {
  const parts = Object.fromEntries(PARTS.map(({ name }) => [name, new Uint8Array(getPart(native, fd, name).buffer)]));
  const values = new Map<number, bigint>();
  for (const index of msrs) {
    const value = getMsr(native, fd, index);
    if (value !== undefined) values.set(index, value);
  }
  return { ...(parts as Record<PartName, Uint8Array>), msrs: values };
}

/** An MSR that refuses the value it was read with is left as it is. */
export function setRaw(native: Native, fd: number, state: RawState): void {
  for (const { name } of PARTS) setPart(native, fd, name, new DataView(state[name].buffer, state[name].byteOffset));
  for (const [index, value] of state.msrs) setMsr(native, fd, index, value);
}
