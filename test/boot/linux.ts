/** The one test that every Linux kernel of Debian's must pass. */
import { expect, type TestContext } from 'vitest';
import { sha256 } from '../../src/base/sha256.ts';
import { boot, type Ended } from './daybreak.ts';
import { missingNetwork, openSuite, type Architecture } from './debian.ts';
import { initramfs, type Scratch } from './initramfs.ts';

export interface LinuxKernel {
  readonly suite: string;
  readonly architecture: Architecture;
  readonly metaPackage: string;
}

/** Prints nothing but what is wrong: traces of refused accesses, of broken promises, of the last breath. */
export const COMPLAINTS = /unchecked MSR access|Call Trace|WARNING: |BUG: |Kernel panic|Oops/;

const SCRIPT = `echo "USERLAND $(uname -m) $(uname -r)"
echo "SUM $(sha256sum < /bin/busybox)"
poweroff -f
`;

/** Boots a kernel to userland, which computes something, and powers off through ACPI. */
export async function bootsToUserland(
  context: TestContext,
  scratch: Scratch,
  kernel: LinuxKernel,
  options: readonly string[] = [],
): Promise<Ended> {
  const { release, path, busybox } = await fetched(context, async () => {
    const suite = await openSuite(kernel.suite, kernel.architecture);
    const { release, vmlinuz } = await suite.kernel(kernel.metaPackage);
    return { release, path: vmlinuz.path, busybox: (await suite.busybox()).data };
  });
  const initrd = scratch.write(`${release}.cpio`, await initramfs(busybox, SCRIPT));
  const ended = await boot(['--kernel', path, '--initrd', initrd, '--append', 'console=ttyS0 panic=-1', '--no-reboot', ...options]);
  const machine = kernel.architecture === 'amd64' ? 'x86_64' : 'i686';
  expect(ended.output).toContain(`USERLAND ${machine} ${release}\r\n`);
  expect(ended.output).toContain(`SUM ${await sha256(busybox)}`);
  expect(ended.output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
  // With --no-reboot a reset would give 1.
  expect(ended.status).toBe(0);
  return ended;
}

/** Skips the test, saying why, when there is no network for what it needs. */
export async function fetched<T>(context: TestContext, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const reason = missingNetwork(error);
    if (reason === undefined) throw error;
    console.warn(`skipped: ${reason}`);
    return context.skip(reason);
  }
}
