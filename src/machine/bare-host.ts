/** The surroundings of a vCPU that has none: what asks there gets the answer of an empty machine. */
import { Bus } from './bus.ts';
import type { Memory } from './memory.ts';
import type { ChiplessHost, VCpuHost } from './vcpu.ts';

/** A host without interrupt controllers, or whose vCPUs never ask for them. */
export function withoutChips(host: ChiplessHost): VCpuHost {
  return { ...host, acknowledge: () => -1, cr8: 0n, tscMoved() {}, readMsr: () => undefined, writeMsr: () => false };
}

/** Memory alone, with empty buses, guest time at 0, and no random bytes. */
export function bareHost(memory: Memory, more: Partial<VCpuHost> = {}): VCpuHost {
  const host = withoutChips({
    memory,
    pio: new Bus('pio'),
    mmio: new Bus('mmio'),
    time: { baseNs: 0, start: 0, rate: 1 },
    epochMs: 0,
    fpuError() {},
    random: () => 0n,
  });
  return { ...host, ...more };
}
