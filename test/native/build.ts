import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const SOURCES = ['runner.c', 'entry.S'].map(source);
const INPUTS = [...SOURCES, source('freestanding.h')];
const BUILD = fileURLToPath(new URL('../../build/native/', import.meta.url));

/** High, so that no 32-bit address and no small random number is one of the runner's. */
const TEXT_ADDRESS = '0x6b0000000000';
const FLAGS = [
  '-O2 -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector -fcf-protection=none',
  `-fPIE -no-pie -nostdlib -static -Wl,-Ttext-segment=${TEXT_ADDRESS} -Wl,-z,noexecstack`,
  '-Wl,--defsym=runner_start=__executable_start -Wl,--defsym=runner_end=_end',
].flatMap((line) => line.split(' '));

/** Why cases cannot be run natively here; tests that need them are skipped with it. */
export class NativeUnavailable extends Error {}

/** Builds the runner unless this source has been built before, and gives its path. */
export function buildRunner(): string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new NativeUnavailable(`native cases need Linux on x86-64, not ${process.platform} on ${process.arch}`);
  }
  const hash = createHash('sha256').update(FLAGS.join('\0'));
  for (const input of INPUTS) hash.update(readFileSync(input));
  const path = `${BUILD}runner-${hash.digest('hex').slice(0, 16)}`;
  if (existsSync(path)) return path;
  mkdirSync(BUILD, { recursive: true });
  const temporary = `${path}.${process.pid}`;
  try {
    execFileSync('gcc', [...FLAGS, '-o', temporary, ...SOURCES], { stdio: ['ignore', 'inherit', 'pipe'] });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw new NativeUnavailable('native cases need gcc');
    throw new Error(`gcc could not build the native runner: ${String((cause as { stderr?: Buffer }).stderr)}`, { cause });
  }
  renameSync(temporary, path);
  return path;
}
