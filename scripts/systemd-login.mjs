// CPU time from power-on to the login prompt of a Debian with systemd, on our machine and on QEMU's TCG, both with the same files over
// virtio-fs: node scripts/systemd-login.mjs [rounds]. As root, with qemu-system-x86 and its virtiofsd; packages come from the mirror.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build as bundle } from 'esbuild';
import { build } from './build.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const rounds = Number(process.argv[2] ?? 3);
const PACKAGES = ['systemd-sysv', 'dbus', 'udev', 'login', 'passwd', 'procps', 'apt', 'mount'];
const APPEND = 'console=ttyS0 panic=-1 root=debian rootfstype=virtiofs rw mitigations=off audit=0';
const PROMPT = 'login: ';
const TICKS_PER_SECOND = 100;

/** A directory with the packages unpacked, and a kernel beside it. */
async function prepare(directory) {
  const outfile = join(root, 'build/systemd-login.mjs');
  mkdirSync(dirname(outfile), { recursive: true });
  await bundle({
    absWorkingDir: root,
    stdin: {
      contents: `
        import { chmodSync, chownSync, linkSync, lchownSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
        import { openSuite } from './test/boot/debian.ts';
        import { debianRoot } from './test/boot/tree-root.ts';
        export async function prepare(directory, packages) {
          const suite = await openSuite('sid');
          writeFileSync(directory + '/vmlinuz', (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.data);
          const { tree, store } = await debianRoot(suite, packages, {});
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
  const { prepare: unpack } = await import(pathToFileURL(outfile).href);
  await unpack(directory, PACKAGES);
}

/** CPU seconds that a process has used so far, all its threads. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Starts a machine, and ends it at the prompt: CPU and wall seconds till then. */
function toPrompt(command, args) {
  return new Promise((done, failed) => {
    const began = performance.now();
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    let output = '';
    let result;
    child.stdout.on('data', (data) => {
      output += data.toString('latin1');
      if (result || !output.endsWith(PROMPT)) return;
      result = { cpu: cpuSeconds(child.pid), wall: (performance.now() - began) / 1000 };
      child.kill('SIGKILL');
    });
    child.on('exit', () => (result ? done(result) : failed(new Error(`${command} ended without a prompt:\n${output.slice(-2000)}`))));
  });
}

function ours(directory) {
  const kernel = ['--kernel', join(directory, 'vmlinuz'), '--append', APPEND, '--memory', '1024', '--no-reboot'];
  return toPrompt(process.execPath, [join(root, 'dist/daybreak.js'), 'boot', ...kernel, '--fs', `debian=${join(directory, 'root')}`]);
}

async function qemu(directory) {
  const socket = join(directory, 'fs.sock');
  const server = spawn('/usr/lib/qemu/virtiofsd', [`--socket-path=${socket}`, '-o', `source=${join(directory, 'root')},cache=always`], {
    stdio: 'ignore',
  });
  while (!existsSync(socket)) await new Promise((wake) => setTimeout(wake, 50));
  try {
    // prettier-ignore
    return await toPrompt('qemu-system-x86_64', [
      '-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', '1024', '-nographic', '-no-reboot',
      '-object', 'memory-backend-memfd,id=ram,size=1G,share=on', '-numa', 'node,memdev=ram',
      '-chardev', `socket,id=fs,path=${socket}`, '-device', 'vhost-user-fs-pci,chardev=fs,tag=debian',
      '-kernel', join(directory, 'vmlinuz'), '-append', APPEND,
    ]);
  } finally {
    server.kill();
    rmSync(socket, { force: true });
  }
}

await build();
const directory = mkdtempSync(join(tmpdir(), 'systemd-login-'));
try {
  await prepare(directory);
  const ratios = [];
  for (let n = 1; n <= rounds; n++) {
    const [base, our] = [await qemu(directory), await ours(directory)];
    ratios.push(our.cpu / base.cpu);
    const show = ({ cpu, wall }) => `${cpu.toFixed(1)} s CPU, ${wall.toFixed(1)} s wall`;
    console.log(`round ${n}: TCG ${show(base)} (virtiofsd beside it); ours ${show(our)}; by CPU ${(our.cpu / base.cpu).toFixed(2)}`);
  }
  console.log(`ours / TCG, least of ${rounds}: ${Math.min(...ratios).toFixed(2)}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
