/** What a guest under KVM is told of its processor: what KVM supports, less what our user-space devices do not offer. */
import { KVM_CPUID_ENTRY_BYTES, KVM_GET_SUPPORTED_CPUID } from './abi.ts';
import { checked, type KvmSystem } from './system.ts';

const HEADER = 8;
const ENTRIES_MAX = 256;

// struct kvm_cpuid_entry2
const FUNCTION = 0;
const EAX = 12;
const EBX = 16;
const ECX = 20;
const EDX = 24;

const X2APIC = 1 << 21;
const TSC_DEADLINE = 1 << 24;
const HYPERVISOR = 1 << 31;
const APIC_ID = 0xff00_0000;
const ONE_PROCESSOR = 0x0001_0000;
/** KVM_FEATURE_CLOCKSOURCE, CLOCKSOURCE2 and CLOCKSOURCE_STABLE_BIT: the others want KVM's own local APIC. */
const KVM_FEATURES = 1 | 8 | (1 << 24);

/** struct kvm_cpuid2 for KVM_SET_CPUID2, for a processor with APIC id 0. */
export function guestCpuid(system: KvmSystem): Uint8Array {
  const bytes = new Uint8Array(HEADER + ENTRIES_MAX * KVM_CPUID_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, ENTRIES_MAX, true);
  checked(system.native.ioctlData(system.fd, KVM_GET_SUPPORTED_CPUID, bytes), 'KVM_GET_SUPPORTED_CPUID');
  const count = view.getUint32(0, true);
  for (let at = HEADER; at < HEADER + count * KVM_CPUID_ENTRY_BYTES; at += KVM_CPUID_ENTRY_BYTES) {
    const change = (register: number, keep: number, set = 0): void =>
      view.setUint32(at + register, (view.getUint32(at + register, true) & keep) | set, true);
    switch (view.getUint32(at + FUNCTION, true)) {
      case 1:
        change(EBX, ~(APIC_ID | 0xff_0000), ONE_PROCESSOR);
        change(ECX, ~(X2APIC | TSC_DEADLINE), HYPERVISOR);
        break;
      case 0xb: // Topology: the APIC id.
      case 0x1f:
        change(EDX, 0);
        break;
      case 0x4000_0001:
        change(EAX, KVM_FEATURES);
        break;
    }
  }
  return bytes.subarray(0, HEADER + count * KVM_CPUID_ENTRY_BYTES);
}
