import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { BIOS_CODE, EFI_CODE, INIT_PROGRAM, MBR_CODE } from './boot-code.ts';

const missing = spawnSync('as', ['--version']).status === 0 ? undefined : 'as is not installed (Debian package binutils)';
if (missing !== undefined) process.stderr.write(`boot-code.test.ts: skipped: ${missing}\n`);

function assemble(name: string, bits: 32 | 64, address: string): string {
  const work = mkdtempSync(join(tmpdir(), 'daybreak-boot-'));
  try {
    const source = fileURLToPath(new URL(`boot/${name}.S`, import.meta.url));
    const run = (program: string, ...args: string[]) => {
      const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
    };
    run('as', `--${bits}`, '-o', `${work}/o`, source);
    run('ld', '-m', bits === 32 ? 'elf_i386' : 'elf_x86_64', `-Ttext=${address}`, '--oformat', 'binary', '-o', `${work}/bin`, `${work}/o`);
    return readFileSync(`${work}/bin`).toString('base64');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

test.skipIf(missing !== undefined).each([
  ['mbr', 32, '0x7c00', MBR_CODE],
  ['bios', 32, '0x8000', BIOS_CODE],
  ['efi', 64, '0x1000', EFI_CODE],
  ['init', 64, '0x400000', INIT_PROGRAM],
] as const)('the bytes of %s are those of its source', (name, bits, address, bytes) => {
  expect(Buffer.from(bytes).toString('base64')).toBe(assemble(name, bits, address));
});
