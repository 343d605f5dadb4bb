/** The interpreter as an accelerator. */
import type { Accelerator, VCpuHost } from '../machine/vcpu.ts';
import { Cpu } from './cpu.ts';
import { Engine } from './engine.ts';
import { ROWS } from './isa/table.ts';
import * as L from './runtime/layout.ts';
import { cpuModel } from './system/cpuid.ts';

/** Instruction set features that rows implement. */
const IN_ROWS: ReadonlySet<string> = new Set(ROWS.flatMap(({ feature }) => (feature === undefined ? [] : [feature])));
/** Instruction set extensions as a whole: absent from the table, they must not be offered. */
const EXTENSIONS: ReadonlySet<string> = new Set(
  'sse3 ssse3 sse41 sse42 popcnt cx16 avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave aes pclmul sha adx xsaveopt xsavec xsaves vaes vpclmulqdq'.split(
    ' ',
  ),
);
const implemented = (feature: string): boolean => IN_ROWS.has(feature) || !EXTENSIONS.has(feature);

/**
 * @param runtime the compiled runtime (src/x86/runtime)
 * @param model a CPU model's name: see system/cpuid.ts
 */
export function interpreter(runtime: WebAssembly.Module, model = 'max'): Accelerator {
  const cpu = cpuModel(model, implemented);
  return {
    name: 'interpreter',
    reservedBytes: L.RAM,
    createVCpu(host: VCpuHost) {
      const engine = new Engine(host.memory, runtime, cpu.features, {
        mmioRead: (low, high, width) => host.mmio.read((low >>> 0) + (high >>> 0) * 2 ** 32, width as 1 | 2 | 4),
        mmioWrite: (low, high, width, value) => host.mmio.write((low >>> 0) + (high >>> 0) * 2 ** 32, width as 1 | 2 | 4, value >>> 0),
      });
      return new Cpu(engine, host, cpu);
    },
  };
}
