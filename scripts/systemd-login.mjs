// CPU time from power-on to the login prompt of a Debian with systemd, on our machine and on QEMU's TCG, both with the same files over
// virtio-fs: node scripts/systemd-login.mjs [rounds]. As root, with qemu-system-x86 and its virtiofsd; packages come from the mirror.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { cpuSeconds } from './cpu-seconds.mjs';
import { debianDirectory } from './debian-directory.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const rounds = Number(process.argv[2] ?? 3);
const PACKAGES = ['systemd-sysv', 'dbus', 'udev', 'login', 'passwd', 'procps', 'apt', 'mount'];
const APPEND = 'console=ttyS0 panic=-1 root=debian rootfstype=virtiofs rw mitigations=off audit=0';
const PROMPT = 'login: ';

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
  await debianDirectory(directory, PACKAGES);
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
