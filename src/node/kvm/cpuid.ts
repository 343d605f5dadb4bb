/** What a guest under KVM is told of its processor: what KVM supports, less what the machine's interrupt controllers do not offer. */
import { KVM_CAP_TSC_DEADLINE_TIMER, KVM_CPUID_ENTRY_BYTES, KVM_GET_SUPPORTED_CPUID } from './abi.ts';
import { checked, type KvmSystem } from './system.ts';

const HEADER = 8;
const ENTRIES_MAX = 256;

// struct kvm_cpuid_entry2
const FUNCTION = 0;
const INDEX = 4;
const EAX = 12;
const EBX = 16;
const ECX = 20;
const EDX = 24;

const X2APIC = 1 << 21;
const TSC_DEADLINE = 1 << 24;
const HYPERVISOR = 1 << 31;
const APIC_ID = 0xff00_0000;
const PROCESSORS = 0xff_0000;
const LEVEL_THREAD = 0x100;
const LEVEL_CORE = 0x201;
/** KVM_FEATURE_CLOCKSOURCE, CLOCKSOURCE2 and CLOCKSOURCE_STABLE_BIT: the others want KVM's own local APIC. */
const KVM_FEATURES = 1 | 8 | (1 << 24);

/** What decides about CPUID besides the host's KVM. */
export interface CpuidWishes {
  /** Interrupt controllers are KVM's: they have x2APIC and TSC deadline. */
  readonly kernelChips: boolean;
  /** APIC id, below `processors`. */
  readonly id: number;
  readonly processors: number;
}

/** struct kvm_cpuid2 for KVM_SET_CPUID2. */
export function guestCpuid(system: KvmSystem, { kernelChips, id, processors }: CpuidWishes): Uint8Array {
  const timer = kernelChips && system.extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0 ? TSC_DEADLINE : 0;
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
        change(EBX, ~(APIC_ID | PROCESSORS), (id << 24) | (processors << 16));
        change(ECX, ~(X2APIC | TSC_DEADLINE), HYPERVISOR | (kernelChips ? X2APIC | timer : 0));
        break;
      case 0xb: // Topology: one thread a core, one package.
      case 0x1f: {
        const level = view.getUint32(at + INDEX, true);
        change(EAX, 0, level === 1 ? Math.ceil(Math.log2(processors)) : 0);
        change(EBX, 0, level === 0 ? 1 : level === 1 ? processors : 0);
        change(ECX, 0, level === 0 ? LEVEL_THREAD : level === 1 ? LEVEL_CORE : level);
        change(EDX, 0, id);
        break;
      }
      case 0x4000_0001:
        change(EAX, KVM_FEATURES);
        break;
    }
  }
  return bytes.subarray(0, HEADER + count * KVM_CPUID_ENTRY_BYTES);
}
