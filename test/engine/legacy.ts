/** The bench in 32-bit protected mode without paging: flat segments, an IDT whose gates lead to the bench's stubs. */
import { DATA0, IDT, KERNEL_STACK, STUBS, TSS, le, type Bench } from './bench.ts';

const GDT = 0x1000;
const CODE32 = 0x08;
export const CODE32_USER = 0x33;
export const VM = 1 << 17;
export const IOPL = 3 << 12;

const flat = (attributes: number) => ({ base: 0n, limit: 0xffff_ffff, attributes });
const DATA_USER = { selector: 0x1b, ...flat(0xc0f3) };

/** To protected mode at CPL 0. */
export function enterProtected(bench: Bench, cr4 = 0n): void {
  bench.poke64(GDT + CODE32, 0x00cf_9b00_0000_ffffn);
  bench.poke64(GDT + 0x30, 0x00cf_fb00_0000_ffffn);
  bench.poke(TSS + 4, [...le(KERNEL_STACK, 4), ...le(DATA0, 4)]);
  for (let vector = 0; vector < 256; vector++) {
    const offset = STUBS + vector;
    bench.poke(IDT + 8 * vector, [...le(offset, 2), ...le(CODE32, 2), 0, 0xee, ...le(offset >>> 16, 2)]);
  }
  const { segments } = bench.cpu.registers();
  bench.cpu.setRegisters({
    segments: { ...segments, cs: { selector: CODE32, ...flat(0xc09b) }, ss: { selector: DATA0, ...flat(0xc093) } },
    cr0: 0x33n,
    cr4,
    efer: 0n,
    rflags: 2n,
  });
}

/** On in CPL 3 with these flags. */
export function enterUser32(bench: Bench, flags: number): void {
  const { segments } = bench.cpu.registers();
  bench.cpu.setRegisters({
    segments: { ...segments, cs: { selector: CODE32_USER, ...flat(0xc0fb) }, ss: DATA_USER, ds: DATA_USER, es: DATA_USER },
    rflags: BigInt(flags | 2),
  });
}

/** On in virtual-8086 mode with these flags: CS:0 and SS:0 are these linear addresses. */
export function enterVirtual(bench: Bench, code: number, stack: number, flags: number): void {
  const real = (base: number) => ({ selector: base >>> 4, base: BigInt(base), limit: 0xffff, attributes: 0xf3 });
  const { segments } = bench.cpu.registers();
  const data = real(stack);
  bench.cpu.setRegisters({
    segments: { ...segments, cs: real(code), ss: data, ds: data, es: data, fs: data, gs: data },
    rflags: BigInt(flags | VM | 2),
    gpr: Array.from({ length: 16 }, (_, n) => (n === 4 ? 0x100n : 0n)),
  });
}
