/** How a machine's kernel finds its root: over virtio-fs, which Debian's kernels since trixie have built in. */
import { KERNEL_COMMAND_LINE } from '../debian/kernel-command-line.ts';

export const ROOT_TAG = 'root';
export const ROOT_OPTIONS = `root=${ROOT_TAG} rootfstype=virtiofs rw`;

/** How a finished tree is booted, to be asked, saved or tried. A saved state is that of a machine of this kind. */
export const BOOT_COMMAND_LINE = `${KERNEL_COMMAND_LINE} ${ROOT_OPTIONS} init=/usr/lib/systemd/systemd systemd.show_status=0`;
export const SYSTEM_MEMORY_BYTES = 2 ** 30;
