// Makes a clone ready to run: npm packages and dist/. Idempotent and quick when there is nothing to do.
//   --quiet  says something only when it does something
//   --test   also sees to the programs that tests compare us with (installed on Debian as root, else named)
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChromium } from './devtools.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const quiet = process.argv.includes('--quiet');

// Standard output belongs to what comes after us.
const say = (text) => process.stderr.write(`${text}\n`);
const fail = (text) => {
  say(`setup: ${text}`);
  process.exit(1);
};

/** What tests use, and what is skipped without it. */
const TEST_TOOLS = [
  { program: 'qemu-system-x86_64', package: 'qemu-system-x86', purpose: 'comparison with QEMU' },
  { program: 'gcc', package: 'gcc', purpose: 'comparison with the processor of this computer' },
  { program: 'as', package: 'binutils', purpose: 'assembled test programs' },
  { file: '/usr/include/stdio.h', package: 'libc6-dev', purpose: 'comparison with the processor of this computer' },
  { program: 'iasl', package: 'acpica-tools', purpose: 'disassembly of our ACPI tables' },
  { program: 'cpio', package: 'cpio', purpose: 'reading our archives with GNU cpio' },
  { program: 'xz', package: 'xz-utils', purpose: 'archives in xz' },
  { program: 'zstd', package: 'zstd', purpose: 'archives in zstd' },
  { program: 'lz4', package: 'lz4', purpose: 'kernels in lz4' },
  { program: 'lzop', package: 'lzop', purpose: 'kernels in lzo' },
  { program: 'nginx', package: 'nginx-light', purpose: 'getting snapshots from a real web server' },
  { program: 'docker-registry', package: 'docker-registry', purpose: 'publishing to a container registry' },
  { program: 'zsh', package: 'zsh', purpose: 'completion in zsh' },
  { program: 'fish', package: 'fish', purpose: 'completion in fish' },
  { program: 'skopeo', package: 'skopeo', purpose: 'copying what is published from registry to registry' },
  { program: 'qemu-img', package: 'qemu-utils', purpose: 'exported disks, checked by QEMU' },
  { program: 'e2fsck', package: 'e2fsprogs', purpose: 'exported file systems, checked by their own tools' },
  { program: 'sfdisk', package: 'fdisk', purpose: 'partition tables of exported disks' },
  { program: 'fsck.fat', package: 'dosfstools', purpose: 'EFI system partitions of exported disks' },
  { file: '/usr/share/OVMF/OVMF_CODE_4M.fd', package: 'ovmf', purpose: 'exported disks that boot by UEFI' },
  { program: 'chromium', found: findChromium, package: 'chromium', purpose: 'the page in a browser' },
];

function has({ program, file, found }) {
  if (found) return found() !== undefined;
  if (file) return existsSync(file);
  // Programs of an administrator's are not on everybody's path.
  return `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':').some((directory) => directory && existsSync(join(directory, program)));
}

function run(command, args, options = {}) {
  // Its output goes to our standard error.
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32', ...options }).status === 0;
}

function installPackages() {
  const installed = join(root, 'node_modules/.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  say('setup: installing npm packages…');
  if (!run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])) fail('npm ci failed: see above; is there a network?');
}

function installTestTools() {
  const missing = TEST_TOOLS.filter((tool) => !has(tool));
  if (missing.length === 0) return;
  const names = [...new Set(missing.map((tool) => tool.package))];
  if (process.getuid?.() === 0 && has({ program: 'apt-get' })) {
    say(`setup: installing ${names.join(' ')}…`);
    const apt = (...args) => run('apt-get', ['-qq', '-y', ...args], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
    if (!apt('install', '--no-install-recommends', ...names)) {
      apt('update');
      apt('install', '--no-install-recommends', ...names);
    }
  }
  const left = TEST_TOOLS.filter((tool) => !has(tool));
  for (const tool of left) say(`setup: ${tool.program ?? tool.file} is missing (Debian package ${tool.package}); skipped: ${tool.purpose}`);
}

const [major] = process.versions.node.split('.').map(Number);
if (major < 20) fail(`Node ${process.versions.node} is too old: 20 or newer is needed`);
installPackages();
const { build } = await import('./build.mjs');
await build().catch((error) => fail(`build failed: ${error.message}`));
if (process.argv.includes('--test')) installTestTools();
if (!quiet) say('setup: ready');
