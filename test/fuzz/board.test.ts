/**
 * Random port and MMIO traffic, PCI configuration and virtqueues against the whole board, with inputs and time in
 * between: no guest may make our own code fail, write outside of the RAM, or stop time.
 */
import { expect, test } from 'vitest';
import type { Width } from '../../src/machine/bus.ts';
import { cpuModel, identityOf } from '../../src/machine/cpu-model.ts';
import type { Accelerator, Exit, Registers, VCpu, VCpuHost } from '../../src/machine/vcpu.ts';
import { countsOf } from '../../src/machine/testing/counts.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { MEMORY_BYTES, shakyPc } from './board.ts';
import { fuzz, oddNumber, pick, type Random } from './seeds.ts';

const WIDTHS: readonly Width[] = [1, 2, 4];
const RINGS = 0x20_0000;
const MOST_QUEUES = 6;
const STATUSES = [0, 1, 3, 11, 15, 15, 15, 0x80, 0xff];

/** What a guest's code could do to the devices, without the code. */
class Vandal implements VCpu {
  architecture(): never {
    throw new Error('bug: nobody saves this');
  }

  setArchitecture(): void {}

  readonly unit = 'instructions';
  executed = 0;
  readonly counts = countsOf(0);
  readonly #host: VCpuHost;
  readonly #random: Random;
  #stop = false;
  #interrupt = false;
  /** Register BARs that virtio devices seem to have. */
  #bars: number[] = [];

  constructor(host: VCpuHost, random: Random) {
    this.#host = host;
    this.#random = random;
  }

  run(budget: number): Exit {
    const random = this.#random;
    this.#stop = false;
    for (let n = Math.min(budget, 400); n > 0 && !this.#stop; n--) {
      this.executed++;
      if (this.#interrupt && random(3) === 0) {
        const vector = this.#host.acknowledge();
        expect(vector).toBeLessThan(256);
      }
      this.#act();
    }
    // Instructions without traffic: time passes
    if (!this.#stop) this.executed += Math.max(0, Math.min(budget - 400, random(100_000)));
    return random(20) === 0 ? { kind: 'shutdown' } : random(4) === 0 ? { kind: 'halt' } : { kind: 'budget' };
  }

  #act(): void {
    const random = this.#random;
    const { pio, mmio, memory } = this.#host;
    const width = pick(random, WIDTHS);
    const value = Number(oddNumber(random) & BigInt(2 ** (8 * width) - 1));
    switch (random(12)) {
      case 0:
      case 1:
      case 2: {
        const { base, size } = pick(random, pio.mappings);
        const port = base + random(size);
        if (random(2)) pio.write(port, width, this.#tame(port, value));
        else this.#bounded(pio.read(port, width), width);
        break;
      }
      case 3:
      case 4:
      case 5: {
        const { base, size } = pick(random, mmio.mappings);
        const address = base + (random(2) ? random(Math.min(size, 0x400)) : random(size));
        if (random(2)) mmio.write(address, width, value);
        else this.#bounded(mmio.read(address, width), width);
        break;
      }
      case 6:
        this.#configure(random(8), random(0x100), width, value, random(2) === 0);
        break;
      case 7:
        memory.write32(random(MEMORY_BYTES), value);
        break;
      case 8:
        if (random(2)) this.#host.writeMsr(pick(random, [0x1b, 0x6e0, 0x800 + random(0x40)]), oddNumber(random));
        else this.#host.readMsr(pick(random, [0x1b, 0x6e0, 0x800 + random(0x40)]));
        break;
      case 9:
        this.#host.cr8 = BigInt(random(16));
        break;
      case 10:
        this.#findBars();
        this.#program(pick(random, this.#bars.length > 0 ? this.#bars : [0xc000_0000]));
        break;
      default:
        pio.write(random(0x10000), width, this.#tame(0, value));
    }
  }

  /** Most of the time no power-off and no exit: they end the case. */
  #tame(port: number, value: number): number {
    return port >= 0xf4 && port < 0xf8 ? 0 : (port & ~3) === 0x604 && this.#random(50) ? value & ~0x2000 : value;
  }

  #bounded(value: number, width: Width): void {
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThan(2 ** (8 * width));
  }

  #configure(slot: number, offset: number, width: Width, value: number, write: boolean): number {
    const { pio } = this.#host;
    pio.write(0xcf8, 4, (0x8000_0000 | (slot << 11) | (offset & 0xfc)) >>> 0);
    if (!write) return pio.read(0xcfc + (offset & 3 & ~(width - 1)), width);
    pio.write(0xcfc + (offset & 3 & ~(width - 1)), width, value);
    return 0;
  }

  #findBars(): void {
    this.#bars = [];
    for (let slot = 1; slot < 8; slot++) {
      const id = this.#configure(slot, 0, 4, 0, false);
      if ((id & 0xffff) !== 0x1af4) continue;
      if (this.#random(4)) this.#configure(slot, 4, 2, 0x0006, true); // memory space, bus master
      this.#bars.push((this.#configure(slot, 0x10, 4, 0, false) & ~15) >>> 0);
    }
  }

  /** A driver that mostly does what drivers do. */
  #program(bar: number): void {
    const random = this.#random;
    const { mmio, memory } = this.#host;
    const write = (offset: number, width: Width, value: number): void => mmio.write(bar + offset, width, value);
    if (random(3) === 0) {
      for (const status of [0, 1, 3]) write(20, 1, status);
      for (const select of [0, 1]) {
        write(0, 4, select);
        const offered = mmio.read(bar + 4, 4);
        write(8, 4, select);
        write(12, 4, random(4) ? offered : random(2 ** 32));
      }
      write(20, 1, 11);
    }
    for (let queue = 0; queue < MOST_QUEUES; queue++) {
      if (random(2)) continue;
      const size = random(4) ? 1 << random(9) : random(0x10000);
      const at = RINGS + queue * 0x4000 + (random(8) ? 0 : random(0x4000));
      write(22, 2, queue);
      write(24, 2, size);
      [at, at + 0x2000, at + 0x3000].forEach((gpa, n) => {
        write(32 + 8 * n, 4, random(20) ? gpa : random(2 ** 32));
        write(36 + 8 * n, 4, random(20) ? 0 : random(2 ** 32));
      });
      write(26, 2, random(8));
      write(28, 2, 1);
      for (let n = 0; n < 16; n++) {
        const descriptor = at + 16 * n;
        memory.write32(descriptor, random(12) ? random(MEMORY_BYTES) : random(2 ** 32));
        memory.write32(descriptor + 4, random(20) ? 0 : random(2 ** 32));
        memory.write32(descriptor + 8, pick(random, [0, 1, 4, 16, 512, 4096, random(0x10000), random(2 ** 32)]));
        memory.write16(descriptor + 12, random(8) ? random(4) : random(0x10000));
        memory.write16(descriptor + 14, random(10) ? random(16) : random(0x10000));
        memory.write16(at + 0x2004 + 2 * n, random(10) ? random(16) : random(0x10000));
      }
      memory.write16(at + 0x2002, random(10) ? random(16) : random(0x10000));
      // Requests as a disk understands them, where descriptors happen to point
      memory.write32(memory.read32(at), random(14));
      memory.write32(memory.read32(at) + 8, random(80));
    }
    write(20, 1, pick(random, STATUSES));
    for (let queue = 0; queue < MOST_QUEUES; queue++) write(0x3000 + 4 * queue, 2, random(10) ? queue : random(0x10000));
  }

  kick(): void {}
  stop(): void {
    this.#stop = true;
  }
  setInterrupt(level: boolean): void {
    this.#interrupt = level;
  }
  nmi(): void {}
  reset(): void {}
  save(): unknown {
    return undefined;
  }
  restore(): void {}
  registers(): Registers {
    throw new Error('not asked for');
  }
  setRegisters(): void {}
}

test('no traffic on ports, MMIO, PCI configuration and virtqueues makes the board fail', { timeout: 3_600_000 }, async () => {
  let acts = 0;
  const cases = await fuzz('board traffic', async (random) => {
    let vandal!: Vandal;
    let host!: VCpuHost;
    const accelerator: Accelerator = {
      name: 'interpreter',
      cpu: identityOf(cpuModel('x86-64')),
      reservedBytes: 65536,
      createVCpu(given) {
        host = given;
        return (vandal = new Vandal(given, random));
      },
    };
    const pc = await shakyPc(random, accelerator, 60);
    host.memory.bytes.fill(0x5a, 0, 65536);
    const before = pc.machine.clock.now();
    const end = await pc.machine.run();
    if (end.kind === 'failed') throw end.error;
    expect(host.memory.bytes.subarray(0, 65536).every((byte) => byte === 0x5a)).toBe(true);
    expect(pc.machine.clock.now()).toBeGreaterThanOrEqual(before);
    acts += vandal.executed;
  });
  console.log(`board traffic: ${cases} cases, ${acts} acts and instructions`);
  expect(acts).toBeGreaterThan(cases);
});

/** A GDT, and an IDT all of whose gates lead to IRET; the code under test comes next. */
function handleInterrupts({ memory }: VCpuHost, vcpu: VCpu): void {
  const [gdt, idt, handler, code] = [0x7000, 0x8000, 0x9000, 0x10_0000];
  memory.write32(gdt + 8, 0x0000_ffff);
  memory.write32(gdt + 12, 0x00cf_9b00);
  for (let vector = 0; vector < 256; vector++) {
    memory.write32(idt + 8 * vector, (8 << 16) | handler);
    memory.write32(idt + 8 * vector + 4, 0x8e00);
  }
  memory.write16(handler, 0xcf);
  const { segments, gpr } = vcpu.registers();
  vcpu.setRegisters({
    segments: { ...segments, cs: { ...segments.cs, selector: 8 } },
    gdtr: { base: BigInt(gdt), limit: 15 },
    idtr: { base: BigInt(idt), limit: 0x7ff },
    gpr: gpr.with(4, 0x6000n),
    rip: BigInt(code),
  });
}

test('code made of port and MMIO accesses does not make the board fail', { timeout: 3_600_000 }, async () => {
  const runtime = await compileRuntime();
  let executed = 0;
  const cases = await fuzz('board code', async (random) => {
    let host!: VCpuHost;
    const inner = pick(random, ACCELERATORS).make(runtime);
    const accelerator: Accelerator = { ...inner, createVCpu: (given) => inner.createVCpu((host = given)) };
    const pc = await shakyPc(random, accelerator, 80);
    const code = host.memory.view(0x10_0000, 0x8000)!;
    let at = 0;
    const put = (...bytes: number[]): void => {
      for (const byte of bytes) if (at < code.length) code[at++] = byte;
    };
    const le = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
    while (at < code.length) {
      const { base, size } = pick(random, random(2) ? host.pio.mappings : host.mmio.mappings);
      const address = base + random(Math.min(size, 0x1000));
      const value = random(2) ? random(256) : random(2 ** 32);
      if (base < 0x10000) {
        // mov edx, port; mov eax, value; in or out
        if ((address & ~3) === 0xf4 || (address & ~3) === 0x604) continue;
        put(0xba, ...le(address), 0xb8, ...le(value), pick(random, [0xec, 0xed, 0xee, 0xef, 0x6e]));
      } else if (random(2)) put(0xb8, ...le(value), pick(random, [0xa2, 0xa3]), ...le(address));
      else put(pick(random, [0xa0, 0xa1]), ...le(address));
      if (random(12) === 0) put(pick(random, [0xfb, 0xfb, 0xfb, 0xfa, 0x90]));
      if (random(200) === 0) put(0xfb, 0xf4);
    }
    code.set([0xe9, ...le(-code.length)], code.length - 5);
    host.memory.written(0x10_0000, code.length);
    handleInterrupts(host, pc.vcpu);
    const end = await pc.machine.run();
    if (end.kind === 'failed') throw end.error;
    executed += pc.vcpu.executed;
  });
  console.log(`board code: ${cases} cases, ${executed} instructions`);
  expect(executed).toBeGreaterThan(cases);
});
