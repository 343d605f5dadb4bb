/** What there is of KVM on this computer, what is missing, and what mends it. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { VmError } from '../../base/errors.ts';
import { KvmAccelerator } from './accelerator.ts';
import { koffiNative } from './koffi.ts';
import type { Native } from './native.ts';
import { probeKvm, type Finding } from './probe.ts';

export interface KvmReport {
  /** Guests run at the hardware's speed, whatever they do. */
  readonly works: boolean;
  /** What was looked at, in order, up to what makes the rest pointless. */
  readonly findings: readonly Finding[];
  /** What is the matter, in a sentence; undefined when nothing is. */
  readonly problem: string | undefined;
  /** What mends it: a command, or what to do. */
  readonly remedy: string | undefined;
}

/** What the diagnosis looks at, for tests to pretend. */
export interface KvmHost {
  readonly platform: string;
  readonly arch: string;
  /** Text of /proc/cpuinfo; empty when there is none. */
  cpuinfo(): string;
  /** The error code of opening /dev/kvm to read and write; undefined when it can be opened. */
  deviceError(): string | undefined;
  native(): Promise<Native>;
  probe(native: Native): Finding[];
}

const DEVICE = '/dev/kvm';

export const thisHost: KvmHost = {
  platform: process.platform,
  arch: process.arch,
  cpuinfo() {
    try {
      return readFileSync('/proc/cpuinfo', 'utf8');
    } catch {
      return '';
    }
  },
  deviceError() {
    try {
      accessSync(DEVICE, constants.R_OK | constants.W_OK);
      return undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  },
  native: koffiNative,
  probe(native) {
    const accelerator = new KvmAccelerator(native);
    try {
      return [chipsIn(accelerator), tscIn(accelerator), ...probeKvm(accelerator)];
    } finally {
      accelerator.dispose();
    }
  },
};

/** Interrupt controllers in the host's kernel: see chips.ts. */
function chipsIn(accelerator: KvmAccelerator): Finding {
  const missing = accelerator.missingForChips();
  const what = 'interrupt controllers in the kernel';
  if (missing === undefined) return { what, works: true };
  return { what, works: false, instead: `this KVM lacks ${missing}: machines have Daybreak’s own, and one processor` };
}

/** A TSC of 1 GHz, which machines have elsewhere: see cpu.ts. */
function tscIn({ scalesTsc, cpu }: KvmAccelerator): Finding {
  const what = 'time-stamp counters of any speed';
  if (scalesTsc) return { what, works: true };
  const instead = `this KVM lacks KVM_CAP_TSC_CONTROL: guests have the processor’s own counter (${cpu.tscKhz} kHz), and saved machines go on where it is as fast`;
  return { what, works: false, instead };
}

interface Trouble {
  readonly problem: string;
  readonly remedy: string;
}

const VIRTUAL =
  'this computer is itself a virtual machine: turn nested virtualisation on for it (on its host: kvm_intel or kvm_amd with nested=1, and -cpu host)';
const FIRMWARE = 'turn on Intel VT-x (VMX) or AMD-V (SVM) in the computer’s BIOS or UEFI settings';

/** Why the processor offers nothing to KVM, if it does not. */
function noExtension(cpuinfo: string): Trouble | undefined {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/));
  if (flags.has('vmx') || flags.has('svm')) return undefined;
  return { problem: 'the processor shows no hardware virtualisation', remedy: flags.has('hypervisor') ? VIRTUAL : FIRMWARE };
}

function cannotOpen(code: string, cpuinfo: string): Trouble {
  if (code === 'EACCES' || code === 'EPERM') {
    return { problem: `${DEVICE} may not be used by this user`, remedy: 'sudo usermod -aG kvm "$USER", then log in again' };
  }
  if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
    const trouble = noExtension(cpuinfo);
    const module = /GenuineIntel/.test(cpuinfo) ? 'kvm_intel' : 'kvm_amd';
    return trouble ?? { problem: `there is no ${DEVICE}: the kernel's module is not loaded`, remedy: `sudo modprobe ${module}` };
  }
  return { problem: `${DEVICE} cannot be opened (${code})`, remedy: `ls -l ${DEVICE}; dmesg | grep -i kvm` };
}

/** Looks, and runs small guests where that is possible. Never rejects. */
export async function diagnoseKvm(host: KvmHost = thisHost): Promise<KvmReport> {
  const findings: Finding[] = [];
  const failed = (what: string, { problem, remedy }: Trouble): KvmReport => {
    findings.push({ what, works: false });
    return { works: false, findings, problem, remedy };
  };
  const good = (what: string): void => void findings.push({ what, works: true });

  const platform = 'Linux on x86-64';
  if (host.platform !== 'linux' || host.arch !== 'x64') {
    return failed(platform, {
      problem: `KVM is a part of Linux, and Daybreak's is for x86-64`,
      remedy: 'use --accel jit, which runs everywhere',
    });
  }
  good(platform);
  const cpuinfo = host.cpuinfo();
  const device = `${DEVICE} can be opened`;
  const code = host.deviceError();
  if (code !== undefined) return failed(device, cannotOpen(code, cpuinfo));
  good(device);
  const interfaceName = 'KVM’s interface';
  try {
    const native = await host.native();
    const probed = host.probe(native);
    good(interfaceName);
    findings.push(...probed);
  } catch (error) {
    const problem = error instanceof VmError ? error.message : `koffi, which calls KVM, cannot be loaded: ${String(error)}`;
    return failed(interfaceName, { problem, remedy: error instanceof VmError ? 'a kernel of Linux 5.0 or newer' : 'npm ci' });
  }
  const missing = findings.filter(({ works, instead }) => !works && instead === undefined).map(({ what }) => what);
  if (missing.length === 0) return { works: true, findings, problem: undefined, remedy: undefined };
  return {
    works: false,
    findings,
    problem: `KVM is here, but guests lack: ${missing.join(', ')}; ${noExtension(cpuinfo)?.problem ?? 'it emulates what the hardware should do'}`,
    remedy: noExtension(cpuinfo)?.remedy ?? VIRTUAL,
  };
}
