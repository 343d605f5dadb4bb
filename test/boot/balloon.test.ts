/** Linux gives back the memory that it does not need, and its saved state does not hold it. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boot, buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { initramfs, Scratch } from './initramfs.ts';
import { COMPLAINTS, fetched } from './linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak, 300_000);
afterAll(() => scratch.remove());

const MODULES = ['virtio', 'virtio_ring', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_balloon'];
const NOISE_MIB = 64;

/** Random bytes come and go; Linux reports free pages every two seconds. */
const script = (reporting: boolean): string => `${MODULES.slice(0, reporting ? undefined : -1)
  .map((name) => `insmod /lib/${name}.ko\n`)
  .join('')}
mkdir /scratch && mount -t tmpfs scratch /scratch
dd if=/dev/urandom of=/scratch/kept bs=64k count=16 2> /dev/null
KEPT=$(sha256sum < /scratch/kept)
dd if=/dev/urandom of=/scratch/noise bs=1M count=${NOISE_MIB} 2> /dev/null
rm /scratch/noise
sleep 6
echo "CAN BE SAVED"
read line
dd if=/dev/zero of=/scratch/zeros bs=1M count=${NOISE_MIB} 2> /dev/null
[ "$(sha256sum < /scratch/kept)" = "$KEPT" ] && echo "RAM IS RIGHT"
poweroff -f
`;

test('a saved state is smaller by what Linux has freed, and goes on', { timeout: 900_000 }, async (context) => {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('bookworm');
    const kernel = await suite.kernel('linux-image-cloud-amd64', ...MODULES.map((name) => new RegExp(`/${name}\\.ko$`)));
    return { kernel, busybox: (await suite.busybox()).data };
  });
  const modules = Object.fromEntries(kernel.others.map(({ data }, i) => [`lib/${MODULES[i]}.ko`, data]));
  const save = async (reporting: boolean): Promise<string> => {
    const initrd = scratch.write(`${reporting}.cpio`, await initramfs(busybox, script(reporting), modules));
    const state = join(scratch.directory, `${reporting}.state`);
    const ended = await boot([
      ...['--kernel', kernel.vmlinuz.path, '--initrd', initrd, '--append', 'console=ttyS0 panic=-1 quiet', '--no-reboot'],
      ...['--memory', '256', '--save', state, '--save-when', 'CAN BE SAVED'],
    ]);
    expect(ended.status).toBe(0);
    expect(ended.output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
    return state;
  };
  const [without, state] = [await save(false), await save(true)];
  const sizes = [without, state].map((path) => Math.round(statSync(path).size / 2 ** 20));
  console.log(`saved states without and with free page reporting: ${sizes.join(' and ')} MiB`);
  expect(sizes[0]! - sizes[1]!).toBeGreaterThan(0.75 * NOISE_MIB);
  const resumed = await boot(['--restore', state], undefined, new TextEncoder().encode('on\n'));
  expect(resumed.output).toContain('RAM IS RIGHT');
  expect(resumed.output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(resumed.status).toBe(0);
});
