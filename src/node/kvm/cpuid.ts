/**
 * What a guest under KVM is told of its processor: a model, as our own processor would tell it, so that the machine can move; or
 * all that KVM supports, less what the machine's interrupt controllers do not offer.
 */
import { cpuid, type CpuModel, LEAVES } from '../../machine/cpu-model.ts';
import { KVM_CAP_TSC_DEADLINE_TIMER, KVM_CPUID_ENTRY_BYTES, KVM_GET_SUPPORTED_CPUID } from './abi.ts';
import { checked, type KvmSystem } from './system.ts';

const HEADER = 8;
const ENTRIES_MAX = 256;

// struct kvm_cpuid_entry2
const FUNCTION = 0;
const INDEX = 4;
const FLAGS = 8;
const EAX = 12;
const EBX = 16;
const ECX = 20;
const EDX = 24;

const INDEX_MATTERS = 1;
const HAVE_INDEX: ReadonlySet<number> = new Set([4, 7, 0xb, 0xd]);

const HTT = 1 << 28;
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

/** struct kvm_cpuid2 for KVM_SET_CPUID2. @param model absent: the host's own processor */
export function guestCpuid(system: KvmSystem, wishes: CpuidWishes, model?: CpuModel): Uint8Array {
  return model ? modelCpuid(model, wishes) : hostCpuid(system, wishes);
}

/** Calls back with a way to change each entry's registers: which bits to keep, and which to set. */
function eachEntry(
  bytes: Uint8Array,
  visit: (leaf: number, subleaf: number, change: (register: number, keep: number, set?: number) => void) => void,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = HEADER; at < HEADER + view.getUint32(0, true) * KVM_CPUID_ENTRY_BYTES; at += KVM_CPUID_ENTRY_BYTES) {
    visit(view.getUint32(at + FUNCTION, true), view.getUint32(at + INDEX, true), (register, keep, set = 0) =>
      view.setUint32(at + register, (view.getUint32(at + register, true) & keep) | set, true),
    );
  }
}

/** One thread a core, one package. */
function setTopology(bytes: Uint8Array, { id, processors }: CpuidWishes): void {
  eachEntry(bytes, (leaf, subleaf, change) => {
    if (leaf === 1) {
      change(EBX, ~(APIC_ID | PROCESSORS), (id << 24) | (processors << 16));
      if (processors > 1) change(EDX, -1, HTT);
    } else if (leaf === 0xb || leaf === 0x1f) {
      change(EAX, 0, subleaf === 1 ? Math.ceil(Math.log2(processors)) : 0);
      change(EBX, 0, subleaf === 0 ? 1 : subleaf === 1 ? processors : 0);
      change(ECX, 0, subleaf === 0 ? LEVEL_THREAD : subleaf === 1 ? LEVEL_CORE : subleaf);
      change(EDX, 0, id);
    }
  });
}

function modelCpuid(model: CpuModel, wishes: CpuidWishes): Uint8Array {
  const bytes = new Uint8Array(HEADER + LEAVES.length * KVM_CPUID_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, LEAVES.length, true);
  LEAVES.forEach(([leaf, subleaf], n) => {
    const at = HEADER + n * KVM_CPUID_ENTRY_BYTES;
    view.setUint32(at + FUNCTION, leaf, true);
    view.setUint32(at + INDEX, subleaf, true);
    view.setUint32(at + FLAGS, HAVE_INDEX.has(leaf) ? INDEX_MATTERS : 0, true);
    // What depends on CR4 and XCR0, KVM fills in.
    const registers = cpuid(model, leaf, subleaf, { osxsave: false, xcr0: 1, apicId: wishes.id });
    registers.forEach((value, register) => view.setUint32(at + EAX + 4 * register, value, true));
  });
  setTopology(bytes, wishes);
  return bytes;
}

/** What this computer's KVM can give to a guest. */
function hostCpuid(system: KvmSystem, wishes: CpuidWishes): Uint8Array {
  const { kernelChips } = wishes;
  const timer = kernelChips && system.extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0 ? TSC_DEADLINE : 0;
  const bytes = new Uint8Array(HEADER + ENTRIES_MAX * KVM_CPUID_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, ENTRIES_MAX, true);
  checked(system.native.ioctlData(system.fd, KVM_GET_SUPPORTED_CPUID, bytes), 'KVM_GET_SUPPORTED_CPUID');
  setTopology(bytes, wishes);
  eachEntry(bytes, (leaf, _, change) => {
    if (leaf === 1) change(ECX, ~(X2APIC | TSC_DEADLINE), HYPERVISOR | (kernelChips ? X2APIC | timer : 0));
    else if (leaf === 0x4000_0001) change(EAX, KVM_FEATURES);
  });
  return bytes.subarray(0, HEADER + view.getUint32(0, true) * KVM_CPUID_ENTRY_BYTES);
}
