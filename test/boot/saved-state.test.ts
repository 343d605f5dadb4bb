/** Linux, saved in the middle of its work and resumed in another process. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boot, buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { initramfs, Scratch } from './initramfs.ts';
import { COMPLAINTS, fetched } from './linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TIMEOUT_MS = 600_000;
const MODULES = ['virtio', 'virtio_ring', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk'];
const DISK_BYTES = 8 << 20;

/** Writes and reads the disk all the time; says when it can be saved; checks everything when it is told to go on. */
const SCRIPT = `${MODULES.map((name) => `insmod /lib/${name}.ko\n`).join('')}
mkdir /scratch && mount -t tmpfs scratch /scratch
dd if=/dev/urandom of=/scratch/noise bs=64k count=256 2> /dev/null
sum() { sha256sum < $1; }
NOISE=$(sum /scratch/noise)
(n=0; while [ ! -e /scratch/stop ]; do
  n=$((n + 1))
  printf '%08d' $n | dd of=/dev/vda bs=8 seek=$((n % 1000 * 512)) conv=notrunc,fsync 2> /dev/null || echo "WRITE FAILED"
  dd if=/dev/vda bs=64k count=64 skip=64 2> /dev/null | sha256sum > /dev/null
  echo $n > /scratch/done
done; touch /scratch/stopped) &
while [ ! -e /scratch/done ]; do sleep 0.1; done
SAVED=$(cat /scratch/done)
echo "BEFORE $(cut -d. -f1 /proc/uptime) $(cat /sys/class/rtc/rtc0/since_epoch)"
echo "CAN BE SAVED"
read line
echo "GOT $line"
while [ "$(cat /scratch/done)" -lt $((SAVED + 2)) ]; do sleep 0.1; done
touch /scratch/stop
while [ ! -e /scratch/stopped ]; do sleep 0.1; done
echo "AFTER $(cut -d. -f1 /proc/uptime) $(cat /sys/class/rtc/rtc0/since_epoch)"
[ "$(sum /scratch/noise)" = "$NOISE" ] && echo "RAM IS RIGHT"
n=$(cat /scratch/done)
echo 3 > /proc/sys/vm/drop_caches
[ "$(dd if=/dev/vda bs=8 skip=$((n % 1000 * 512)) count=1 2> /dev/null)" = "$(printf '%08d' $n)" ] && echo "DISK IS RIGHT"
poweroff -f
`;

test(
  'Linux goes on from a saved state in another process, under another accelerator, with its disk',
  { timeout: TIMEOUT_MS },
  async (context) => {
    const { kernel, busybox } = await fetched(context, async () => {
      const suite = await openSuite('bookworm');
      const kernel = await suite.kernel('linux-image-cloud-amd64', ...MODULES.map((name) => new RegExp(`/${name}\\.ko$`)));
      return { kernel, busybox: (await suite.busybox()).data };
    });
    const disk = scratch.write('disk', new Uint8Array(DISK_BYTES));
    const modules = Object.fromEntries(kernel.others.map(({ data }, i) => [`lib/${MODULES[i]}.ko`, data]));
    const initrd = scratch.write('saved.cpio', await initramfs(busybox, SCRIPT, modules));
    const state = join(scratch.directory, 'machine.state');
    const first = await boot([
      ...[
        '--kernel',
        kernel.vmlinuz.path,
        '--initrd',
        initrd,
        '--append',
        'console=ttyS0 panic=-1 quiet',
        '--no-reboot',
        '--memory',
        '256',
      ],
      ...['--disk', disk, '--save', state, '--save-when', 'CAN BE SAVED'],
    ]);
    expect(first.errors).toContain('goes on from there');
    expect(first.status).toBe(0);

    // What does not fit is refused, and says why.
    const damaged = scratch.write('damaged.state', readFileSync(state));
    truncateSync(damaged, 1_000_000);
    const refused = await boot(['--restore', damaged, '--disk', disk]);
    expect([refused.status, refused.output]).toEqual([1, '']);
    expect(refused.errors).toContain('damaged.state: the saved state is damaged (it ends too early');
    const withoutDisk = await boot(['--restore', state]);
    expect(withoutDisk.status).toBe(1);
    expect(withoutDisk.errors).toContain('saved with 1 disk, this one has 0');

    const go = new TextEncoder().encode('on\n');
    const second = await boot(['--restore', state, '--disk', disk, '--accel', 'interpreter'], undefined, go);
    expect(second.output).toContain('GOT on');
    expect(second.output).toContain('RAM IS RIGHT');
    expect(second.output).toContain('DISK IS RIGHT');
    expect(second.output).not.toContain('WRITE FAILED');
    expect((first.output + second.output).split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
    expect(second.status).toBe(0);
    const numbers = (output: string, word: string): number[] =>
      new RegExp(`^${word} (\\d+) (\\d+)`, 'm').exec(output)!.slice(1).map(Number);
    const [before, after] = [numbers(first.output, 'BEFORE'), numbers(second.output, 'AFTER')];
    // Time went on where it was, and the clock is the host's.
    expect(after[0]! - before[0]!).toBeGreaterThanOrEqual(0);
    expect(after[0]! - before[0]!).toBeLessThan(60);
    expect(Math.abs(after[1]! - Date.now() / 1000)).toBeLessThan(60);

    // The guest has written to its disk since: going on once more would destroy it.
    const again = await boot(['--restore', state, '--disk', disk], undefined, go);
    expect(again.status).toBe(1);
    expect(again.errors).toContain('disk 1: it has changed since the machine was saved');
    writeFileSync(damaged, readFileSync(initrd));
    expect((await boot(['--restore', damaged, '--disk', disk])).errors).toContain('damaged.state: it is not a saved state of Daybreak');
  },
);
