/** A Linux boots to userland interpreted and compiled, in the same machine at the same pace: step by step the same. */
import { expect, test } from 'vitest';
import { createPc, type Pc } from '../../src/boards/pc.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import type { Pace } from '../../src/platform/pace.ts';
import { interpreter, jit } from '../../src/x86/accelerator.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { openSuite } from './debian.ts';
import { initramfs } from './initramfs.ts';
import { fetched } from './linux.ts';

const MEMORY_BYTES = 192 << 20;
const TIMEOUT_MS = 3_600_000;
/** Memory is compared that seldom, in slices. */
const MEMORY_EVERY = 50;
const SCRIPT = `echo USERLAND
sha256sum /bin/busybox
gzip -c /bin/busybox | gunzip | md5sum
for i in 1 2 3 4 5 6 7 8; do (echo $i | sed s/1/one/; true) & done; wait
echo SUMMED
poweroff -f
`;

/** A host whose time stands still but between slices, and that waits after each until it is told to go on. */
class Stepping implements Pace {
  #nowMs = 0;
  #go: (() => void) | undefined;
  #arrived: (() => void) | undefined;

  nowMs(): number {
    return this.#nowMs;
  }

  breathe(): Promise<void> {
    this.#nowMs += 1;
    return this.#wait();
  }

  sleep(ms: number): Promise<void> {
    this.#nowMs += Math.min(ms, 1000);
    return this.#wait();
  }

  #wait(): Promise<void> {
    this.#arrived?.();
    return new Promise((resolve) => (this.#go = resolve));
  }

  /** Lets one more slice run. */
  slice(): Promise<void> {
    const arrived = new Promise<void>((resolve) => (this.#arrived = resolve));
    this.#go?.();
    return arrived;
  }
}

interface Side {
  readonly pc: Pc;
  readonly cpu: Cpu;
  readonly pace: Stepping;
  readonly ended: Promise<unknown>;
  readonly output: () => string;
}

async function side(accelerator: Accelerator, kernel: Uint8Array, initrd: Uint8Array): Promise<Side> {
  const pace = new Stepping();
  let output = '';
  let random = 1;
  const pc = await createPc({
    memoryBytes: MEMORY_BYTES,
    accelerator,
    pace,
    epochMs: 1_700_000_000_000,
    entropy: { fill: (bytes: Uint8Array) => void bytes.forEach((_, n) => (bytes[n] = random = (random * 75 + 74) % 65537)) },
    serial: { write: (data) => void (output += new TextDecoder('latin1').decode(data)) },
    kernel: { kernel, name: 'kernel', initrd, commandLine: 'console=ttyS0 panic=-1' },
    noReboot: true,
  });
  return { pc, cpu: pc.vcpu as Cpu, pace, ended: pc.machine.run(), output: () => output };
}

/** What differs; undefined when nothing does. */
function difference(a: Side, b: Side, memory: boolean): unknown {
  const of = ({ cpu }: Side): unknown => ({ executed: cpu.executed, halted: cpu.halted, ...cpu.registers() });
  const [mine, its] = [of(a), of(b)].map((value) =>
    JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? field.toString(16) : field)),
  );
  if (mine !== its) return [mine, its];
  if (!memory) return undefined;
  const [x, y] = [a, b].map(({ cpu }) =>
    Buffer.from(cpu.host.memory.wasm.buffer as ArrayBuffer, cpu.engine.memory.ramOffset, MEMORY_BYTES),
  );
  if (x!.equals(y!)) return undefined;
  const at = x!.findIndex((byte, n) => byte !== y![n]);
  return `memory at ${at.toString(16)}: ${x!.toString('hex', at, at + 16)} ${y!.toString('hex', at, at + 16)}`;
}

test.for([
  ['as usual', undefined],
  ['after few jumps', { threshold: 30, batch: 4 }],
] as const)(
  'Linux boots the same interpreted and compiled %s, to the instruction',
  { timeout: TIMEOUT_MS },
  async ([, options], context) => {
    const { vmlinuz, busybox } = await fetched(context, async () => {
      const suite = await openSuite('sid');
      return { vmlinuz: (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.data, busybox: (await suite.busybox()).data };
    });
    const initrd = await initramfs(busybox, SCRIPT);
    const runtime = await compileRuntime();
    const sides = [await side(interpreter(runtime), vmlinuz, initrd), await side(jit(runtime, 'max', options), vmlinuz, initrd)] as const;
    const ended = new Set<Side>();
    for (const each of sides) void each.ended.then(() => ended.add(each));
    for (let slice = 0; ended.size < sides.length; slice++) {
      for (const each of sides) await Promise.race([each.pace.slice(), each.ended]);
      const found = difference(...sides, slice % MEMORY_EVERY === 0);
      if (found)
        throw new Error(
          `slice ${slice}, ${sides[0].cpu.executed} instructions: ${JSON.stringify(found)}\n${sides[0].output().slice(-500)}`,
        );
    }
    expect(sides[0].output()).toContain('SUMMED');
    expect(sides[1].output()).toBe(sides[0].output());
  },
);
