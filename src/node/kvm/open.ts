/** KVM for a machine: what `--accel kvm` and `--accel auto` get. */
import { VmError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Accelerator } from '../../machine/vcpu.ts';
import { KvmAccelerator } from './accelerator.ts';
import { diagnoseKvm } from './diagnose.ts';
import type { ThreadProgram } from './threaded-vcpu.ts';
import { koffiNative } from './koffi.ts';

/**
 * `kvm`: rejects with VmError `unsupported` where there is none, and warns where guests will lack something. `auto`:
 * resolves to undefined unless guests lack nothing. The caller disposes of it.
 * @param completer executes what this host's KVM cannot
 * @param program of a vCPU's thread
 */
export async function openKvm(
  name: 'kvm' | 'auto',
  completer: Accelerator,
  program: ThreadProgram,
  log: Log,
): Promise<KvmAccelerator | undefined> {
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
  return new KvmAccelerator(native!, completer, program);
}
