// A directory with a Debian unpacked from packages of the mirror, and what starts it: for the scripts that measure.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build as bundle } from 'esbuild';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** An initrd's script: the root is the first disk's ext4. `init=` is for the kernel's own root, and so read here. */
const SWITCH_TO_DISK = `
insmod /virtio_blk.ko
mkdir /new
mount -t ext4 /dev/vda /new
init=$(sed -n 's/.* init=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
mount --move /dev /new/dev
umount /sys /proc
exec switch_root /new \${init:-/sbin/init}
`;

/**
 * Makes in `directory`: `root/` with the packages and further `files` (text, executable, by path), `vmlinuz`, and `initrd` for an
 * ext4 with the same content on a virtio disk. As root, since files have their owners.
 */
export async function debianDirectory(directory, packages, files = {}) {
  const outfile = join(root, 'build/debian-directory.mjs');
  mkdirSync(dirname(outfile), { recursive: true });
  await bundle({
    absWorkingDir: root,
    stdin: {
      contents: `
        import { chmodSync, linkSync, lchownSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
        import { openSuite } from './test/boot/debian.ts';
        import { initramfs } from './test/boot/initramfs.ts';
        import { debianRoot } from './test/boot/tree-root.ts';
        export async function prepare(directory, packages, files, switchToDisk, unxz) {
          const suite = await openSuite('sid');
          const { release, vmlinuz } = await suite.kernel('linux-image-cloud-amd64');
          writeFileSync(directory + '/vmlinuz', vmlinuz.data);
          const blk = await suite.file('linux-modules-' + release, /drivers\\/block\\/virtio_blk\\.ko\\.xz$/);
          const modules = { 'virtio_blk.ko': unxz(blk.data) };
          writeFileSync(directory + '/initrd', await initramfs((await suite.busybox()).data, switchToDisk, modules));
          const { tree, store } = await debianRoot(suite, packages, files);
          const first = new Map();
          for (const [path, node] of tree.entries()) {
            const at = directory + '/root/' + path;
            if (first.has(node)) linkSync(first.get(node), at);
            else if (node.type === 'directory') mkdirSync(at, { recursive: true });
            else if (node.type === 'file') writeFileSync(at, await store.get(node.digest));
            else if (node.type === 'symlink') symlinkSync(node.target, at);
            else continue; // devices: the kernel makes them
            first.set(node, at);
            lchownSync(at, node.uid, node.gid);
            if (node.type === 'symlink') continue;
            chmodSync(at, node.mode);
            utimesSync(at, node.mtime, node.mtime);
          }
        }`,
      resolveDir: root,
      loader: 'ts',
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  });
  const { prepare } = await import(pathToFileURL(outfile).href);
  const unxz = (data) => execFileSync('xz', ['-dc'], { input: data, maxBuffer: 1 << 26 });
  await prepare(directory, packages, files, SWITCH_TO_DISK, unxz);
}
