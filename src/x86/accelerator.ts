/** The accelerators that are made of our own processor: the interpreter, and the compiler on top of it. */
import { checkOffer, cpuModel, type CpuModel, FEATURES, identityOf, modelOf, TSC_KHZ } from '../machine/cpu-model.ts';
import type { Accelerator, Completer, CpuIdentity, VCpuHost } from '../machine/vcpu.ts';
import type { CompilerOptions, RegionCompiler } from './compiler/compiler.ts';
import type { CompilerObserver } from './compiler/observer.ts';
import { Cpu } from './cpu.ts';
import { Engine, type EngineModules } from './engine.ts';
import { ROWS } from './isa/table.ts';
import * as L from './runtime/layout.ts';

/** Instruction set features that rows implement. */
const IN_ROWS: ReadonlySet<string> = new Set(ROWS.flatMap(({ feature }) => (feature === undefined ? [] : [feature])));
/** Instruction set extensions as a whole: absent from the table, they must not be offered. */
const EXTENSIONS: ReadonlySet<string> = new Set(
  'sse3 ssse3 sse41 sse42 popcnt cx16 avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave aes pclmul sha adx xsaveopt xsavec xsaves vaes vpclmulqdq'.split(
    ' ',
  ),
);
const implemented = (feature: string): boolean => FEATURES.has(feature) && (IN_ROWS.has(feature) || !EXTENSIONS.has(feature));

const OFFER = { features: [...FEATURES].filter(implemented), tscKhz: TSC_KHZ };

/** A model by name, less what is not implemented; or the processor that a machine has seen, whole. */
function ourModel(wanted: string | CpuIdentity): CpuModel {
  if (typeof wanted !== 'string') {
    checkOffer(wanted, OFFER, 'Daybreak’s own processor (without KVM)');
    return modelOf(wanted);
  }
  const model = cpuModel(wanted);
  return { ...model, features: new Set([...model.features].filter(implemented)) };
}

export interface InterpreterOptions {
  /** The interpreter's module, made beforehand: see EngineModules. */
  readonly handlers?: WebAssembly.Module | undefined;
}

/** What the compiler may be told. */
export interface JitOptions extends InterpreterOptions {
  /** Jumps to a place before it is compiled. */
  readonly threshold?: number;
  /** Regions that one module is made of. */
  readonly batch?: number;
  /** Code that keeps changing is compiled after at most 2^patience times the usual number of jumps. */
  readonly patience?: number;
  /** Instructions in compiled code, at most. */
  readonly capacity?: number;
  /** Compiles guest code: see EngineModules. */
  readonly compileRegions?: RegionCompiler | undefined;
  /** Is told what the compiler does, and gives names. */
  readonly observer?: CompilerObserver | undefined;
}

/** Measured: docs/performance.md. */
const DEFAULTS: CompilerOptions = { threshold: 8000, batch: 64, patience: 8, capacity: 500_000 };

/**
 * @param runtime the compiled runtime (src/x86/runtime)
 * @param model a CPU model's name, or what a machine has seen: see machine/cpu-model.ts
 */
export function interpreter(
  runtime: WebAssembly.Module,
  model: string | CpuIdentity = 'max',
  { handlers }: InterpreterOptions = {},
): Accelerator {
  return accelerator('interpreter', { runtime, handlers }, model);
}

/** An interpreter for instructions that another accelerator cannot execute: it may never be needed, and is compiled when it is. */
export function completer(modules: () => EngineModules): Completer {
  return {
    reservedBytes: L.RAM,
    createVCpu(host) {
      const { runtime, handlers } = modules();
      return interpreter(runtime, 'max', { handlers }).createVCpu(host);
    },
  };
}

/** As the interpreter, but hot code is compiled to WebAssembly while it runs. */
export function jit(
  runtime: WebAssembly.Module,
  model: string | CpuIdentity = 'max',
  { handlers, compileRegions, ...options }: JitOptions = {},
): Accelerator {
  return accelerator('jit', { runtime, handlers, compileRegions }, model, { ...DEFAULTS, ...options });
}

function accelerator(
  name: Accelerator['name'],
  modules: EngineModules,
  model: string | CpuIdentity,
  compiler?: CompilerOptions,
): Accelerator {
  const cpu = ourModel(model);
  return {
    name,
    cpu: identityOf(cpu),
    reservedBytes: L.RAM,
    createVCpu(host: VCpuHost) {
      const handlers = {
        mmioRead: (low: number, high: number, width: number) => host.mmio.read((low >>> 0) + (high >>> 0) * 2 ** 32, width as 1 | 2 | 4),
        mmioWrite: (low: number, high: number, width: number, value: number) =>
          host.mmio.write((low >>> 0) + (high >>> 0) * 2 ** 32, width as 1 | 2 | 4, value >>> 0),
      };
      return new Cpu(new Engine(host.memory, modules, cpu.features, handlers, compiler), host, cpu);
    },
  };
}
