/**
 * Which processor a guest under KVM gets. By default it is one that our own processor can also be, so that a machine may move
 * between the two; `host` is all of the computer's.
 */
import { closeSync } from 'node:fs';
import { checkOffer, cpuModel, type CpuModel, FEATURES, identityOf, MITIGATIONS, modelOf, TSC_KHZ } from '../../machine/cpu-model.ts';
import { Memory } from '../../machine/memory.ts';
import type { CpuIdentity } from '../../machine/vcpu.ts';
import { KVM_CAP_TSC_CONTROL, KVM_GET_TSC_KHZ } from './abi.ts';
import { guestCpuid } from './cpuid.ts';
import { featuresOf } from './features.ts';
import { checked, type KvmSystem, KvmVm } from './system.ts';

/** The name of the processor that is the host's own. */
const HOST = 'host';
const MAX = 'max';
const WHO = 'this computer’s KVM';
const PROBE_RAM_BYTES = 1 << 20;
/** Behind these are registers that KVM has and our processor has not: a guest that may move had better not find them. */
const OTHERWISE_HERE: ReadonlySet<string> = new Set(['mce', 'mca', 'mtrr']);

export interface KvmCpu {
  /** Absent: the host's own. */
  readonly model?: CpuModel;
  readonly identity: CpuIdentity;
}

export interface KvmCpuWishes {
  /** A model by name; what a saved machine has seen; or a model that is taken as it is, whatever KVM says. */
  readonly wanted: string | CpuIdentity | CpuModel;
  readonly kernelChips: boolean;
  /**
   * Where guests lack so much that only small programs run, which has been said: the TSC is told to be as it should, even if it
   * is not.
   */
  readonly makeshift: boolean;
}

/** Throws VmError `unsupported`, naming what is missing, when this computer's KVM does not offer what is wanted. */
export function kvmCpu(system: KvmSystem, { wanted, kernelChips, makeshift }: KvmCpuWishes): KvmCpu {
  const seen = typeof wanted === 'string' ? undefined : wanted;
  if (isModel(seen)) return withModel(seen);
  const name = typeof wanted === 'string' ? wanted : wanted.name;
  const features = featuresOf(guestCpuid(system, { kernelChips, id: 0, processors: 1 }));
  if (name === HOST) {
    const identity = { name, features, tscKhz: hostTscKhz(system) };
    if (seen) checkOffer(seen, identity, WHO);
    return { identity };
  }
  const tscKhz = makeshift || scalesTsc(system) ? TSC_KHZ : hostTscKhz(system);
  const offered = { features: features.filter((feature) => FEATURES.has(feature)), tscKhz };
  if (seen) {
    checkOffer(seen, offered, WHO);
    return withModel(modelOf(seen));
  }
  const model = { ...cpuModel(name), tscKhz };
  if (name !== MAX) {
    checkOffer(identityOf(model), offered, WHO);
    return withModel(model);
  }
  const most = [...model.features, ...MITIGATIONS].filter((one) => offered.features.includes(one) && !OTHERWISE_HERE.has(one));
  return withModel({ ...model, features: new Set(most) });
}

export const scalesTsc = (system: KvmSystem): boolean => system.extension(KVM_CAP_TSC_CONTROL) > 0;

const isModel = (wanted: CpuIdentity | CpuModel | undefined): wanted is CpuModel => wanted?.features instanceof Set;

const withModel = (model: CpuModel): KvmCpu => ({ model, identity: identityOf(model) });

/** What the TSC counts in a millisecond where KVM leaves it alone, which only a vCPU can tell. */
function hostTscKhz(system: KvmSystem): number {
  const vm = new KvmVm(system, new Memory(PROBE_RAM_BYTES, 0));
  try {
    const fd = vm.createVCpu(0);
    const khz = checked(system.native.ioctl(fd, KVM_GET_TSC_KHZ, 0), 'KVM_GET_TSC_KHZ');
    closeSync(fd);
    return khz;
  } finally {
    vm.dispose();
  }
}
