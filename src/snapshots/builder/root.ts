/** How a machine's kernel finds its root: over virtio-fs, which Debian's kernels since trixie have built in. */
export const ROOT_TAG = 'root';
export const ROOT_OPTIONS = `root=${ROOT_TAG} rootfstype=virtiofs rw`;
