/** KVM for a machine: what `--accel kvm` and `--accel auto` get. */
import { VmError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Completer, CpuIdentity } from '../../machine/vcpu.ts';
import { KvmAccelerator } from './accelerator.ts';
import { diagnoseKvm } from './diagnose.ts';
import type { ThreadProgram } from './threaded-vcpu.ts';
import { koffiNative } from './koffi.ts';

export interface OpenOptions {
  /** Executes what this host's KVM cannot. */
  readonly completer: Completer;
  /** Of a vCPU's thread. */
  readonly program: ThreadProgram;
  /** A model by name, or what a saved machine has seen; absent: as much as can move between accelerators. */
  readonly cpu?: string | CpuIdentity | undefined;
  readonly log: Log;
}

/**
 * `kvm`: rejects with VmError `unsupported` where there is none, or it does not offer the processor, and warns where guests will
 * lack something. `auto`: resolves to undefined unless guests lack nothing and have that processor. The caller disposes of it.
 */
export async function openKvm(name: 'kvm' | 'auto', { completer, program, cpu, log }: OpenOptions): Promise<KvmAccelerator | undefined> {
  const { works, findings, problem, remedy } = await diagnoseKvm();
  if (!works && name === 'auto') return undefined;
  const native = await koffiNative().catch(() => undefined);
  if (!works) {
    const trouble = `${problem}; to mend it: ${remedy}`;
    // Guests were tried: then there is a KVM, of a kind.
    const tried = findings.some(({ what }) => what === '32-bit paging');
    if (!tried || !native) throw new VmError('unsupported', `--accel kvm: ${trouble}`);
    log('warn', 'kvm', trouble);
  }
  try {
    const accelerator = new KvmAccelerator(native!, { completer, program, makeshift: !works, ...(cpu !== undefined && { cpu }) });
    if (!works && !accelerator.scalesTsc)
      log('warn', 'kvm', 'the guest’s TSC is the processor’s own here, and not as fast as the guest is told');
    return accelerator;
  } catch (error) {
    if (name === 'auto' && error instanceof VmError && error.code === 'unsupported') return undefined;
    throw error;
  }
}
