import { expect, test } from 'vitest';
import { VmError } from '../../base/errors.ts';
import { diagnoseKvm, type KvmHost } from './diagnose.ts';
import type { Native } from './native.ts';

const INTEL = 'vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx sse\n';
const AMD_GUEST = 'vendor_id\t: AuthenticAMD\nflags\t\t: fpu hypervisor sse\n';
const NATIVE = {} as Native;

const host = (changes: Partial<KvmHost>): KvmHost => ({
  platform: 'linux',
  arch: 'x64',
  cpuinfo: () => INTEL,
  deviceError: () => undefined,
  native: async () => NATIVE,
  probe: () => [{ what: 'paging', works: true }],
  ...changes,
});

test('finds nothing to mend where guests can do everything', async () => {
  const report = await diagnoseKvm(host({}));
  expect(report).toMatchObject({ works: true, problem: undefined, remedy: undefined });
  expect(report.findings.every(({ works }) => works)).toBe(true);
  expect(report.findings.map(({ what }) => what)).toContain('paging');
});

type Case = readonly [name: string, changes: Partial<KvmHost>, problem: RegExp, remedy: RegExp];

test.for<Case>([
  ['another operating system', { platform: 'darwin' }, /part of Linux/, /--accel jit/],
  ['another processor', { arch: 'arm64' }, /x86-64/, /--accel jit/],
  ['a device that this user may not open', { deviceError: () => 'EACCES' }, /this user/, /usermod -aG kvm/],
  ['a module that is not loaded', { deviceError: () => 'ENOENT' }, /not loaded/, /modprobe kvm_intel/],
  ['a virtual machine without nesting', { deviceError: () => 'ENOENT', cpuinfo: () => AMD_GUEST }, /no hardware virt/, /nested/],
  ['virtualisation that is off', { deviceError: () => 'ENOENT', cpuinfo: () => 'flags : fpu\n' }, /no hardware virt/, /BIOS/],
  ['a device in trouble', { deviceError: () => 'EIO' }, /EIO/, /dmesg/],
  ['no way to call KVM', { native: () => Promise.reject(new Error('no binary')) }, /koffi.*no binary/, /npm ci/],
  ['probes that fail', { probe: () => [{ what: 'paging', works: false }], cpuinfo: () => AMD_GUEST }, /lack: paging/, /nested/],
])('names what is missing and what mends it: %s', async ([, changes, problem, remedy]) => {
  const report = await diagnoseKvm(host(changes));
  expect(report.works).toBe(false);
  expect(report.problem).toMatch(problem);
  expect(report.remedy).toMatch(remedy);
  expect(report.findings.at(-1)!.works).toBe(false);
});

test('does without what machines can do without, and says so', async () => {
  const probe = () => [{ what: 'chips', works: false, instead: 'this KVM lacks KVM_CAP_IRQFD' }];
  const report = await diagnoseKvm(host({ probe }));
  expect(report).toMatchObject({ works: true, problem: undefined });
  expect(report.findings.at(-1)).toEqual({ what: 'chips', works: false, instead: 'this KVM lacks KVM_CAP_IRQFD' });
});

test('passes on what a KVM that is too old says of itself', async () => {
  const probe = (): never => {
    throw new VmError('unsupported', '/dev/kvm: this KVM lacks KVM_CAP_XCRS');
  };
  expect(await diagnoseKvm(host({ probe }))).toMatchObject({ works: false, problem: '/dev/kvm: this KVM lacks KVM_CAP_XCRS' });
});
