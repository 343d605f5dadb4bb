/** Runs an image of this folder in our processor and in QEMU's interpreter; both leave words in memory: see boot.S. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bareHost } from '../../src/machine/bare-host.ts';
import { Bus } from '../../src/machine/bus.ts';
import { Memory } from '../../src/machine/memory.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';

const MIB = 1 << 20;
const RAM_BYTES = 128 * MIB;
const ROM = 0xf0000;
const EXIT_PORT = 0xf4;
/** As in boot.S. */
const LOG_POINTER = 0x100000;
const LOG = 0x100010;
/** Instructions after which an image counts as lost. */
const BUDGET = 2_000_000_000;
const QEMU = 'qemu-system-x86_64';

/** Assembles `name`.S to 64 KiB of ROM; undefined where there is no assembler. */
export function assemble(name: string): Uint8Array | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'daybreak-'));
  const source = fileURLToPath(new URL(`${name}.S`, import.meta.url));
  const object = join(directory, 'image.o');
  const image = join(directory, 'image.bin');
  try {
    execFileSync('gcc', ['-c', '-m64', source, '-o', object]);
    execFileSync('ld', ['-m', 'elf_x86_64', '-Ttext=0x10000', '-e', 'start', '--oformat', 'binary', '-o', image, object]);
    return readFileSync(image);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function words(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = view.getUint32(LOG_POINTER, true);
  if (end < LOG || end > bytes.length) throw new Error(`the log of ${bytes.length} bytes ends at 0x${end.toString(16)}`);
  return new Uint32Array(Uint8Array.from(bytes.subarray(LOG, end)).buffer);
}

export interface Outcome {
  readonly log: Uint32Array;
  /** Why it ended. */
  readonly end: string;
}

export function runHere(image: Uint8Array, accelerator: Accelerator): Outcome {
  const memory = new Memory(RAM_BYTES, accelerator.reservedBytes);
  const pio = new Bus('pio');
  let ended = false;
  const cpu = accelerator.createVCpu(bareHost(memory, { pio }));
  pio.map(EXIT_PORT, 1, 'exit', {
    read: () => 0xff,
    write: () => {
      ended = true;
      cpu.stop();
    },
  });
  memory.bytes.set(image, memory.hostOffset(ROM, image.length));
  const { segments } = cpu.registers();
  cpu.setRegisters({ segments: { ...segments, cs: { ...segments.cs, base: BigInt(ROM) } }, rip: 0xfff0n });
  const exit = cpu.run(BUDGET);
  const first = memory.hostOffset(0, 1);
  return { log: words(memory.bytes.subarray(first, first + RAM_BYTES)), end: ended ? 'exit' : exit.kind };
}

/** Undefined where there is no QEMU. */
export function runInQemu(image: Uint8Array, directory = mkdtempSync(join(tmpdir(), 'daybreak-'))): Outcome | undefined {
  const rom = join(directory, 'rom');
  const ram = join(directory, 'ram');
  try {
    execFileSync('sh', ['-c', `cat > "$1"`, 'sh', rom], { input: image });
    const file = openSync(ram, 'w');
    ftruncateSync(file, RAM_BYTES);
    closeSync(file);
    const options = [
      ...['-accel', 'tcg', '-cpu', 'max', '-display', 'none', '-nodefaults', '-no-reboot', '-bios', rom],
      ...['-machine', 'pc,memory-backend=ram', '-object', `memory-backend-file,id=ram,size=${RAM_BYTES},mem-path=${ram},share=on`],
      ...['-device', `isa-debug-exit,iobase=${EXIT_PORT},iosize=1`],
    ];
    const { error, status, stderr } = spawnSync(QEMU, options, { timeout: 60_000, encoding: 'utf8' });
    if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined;
    if (error) throw error;
    // The device ends QEMU with status 2 · value + 1.
    return { log: words(readFileSync(ram)), end: status === 1 && !stderr ? 'exit' : `status ${status} ${stderr}` };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
