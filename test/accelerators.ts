/** What tests of the processor run on, each with the compiled runtime and a CPU model. */
import type { Accelerator } from '../src/machine/vcpu.ts';
import { interpreter, jit } from '../src/x86/accelerator.ts';

export interface TestedAccelerator {
  readonly name: string;
  make(runtime: WebAssembly.Module, model?: string): Accelerator;
}

export const INTERPRETER: TestedAccelerator = { name: 'interpreter', make: interpreter };

/** The compiler compiles here what a jump comes to for the first time. */
export const ACCELERATORS: readonly TestedAccelerator[] = [
  INTERPRETER,
  { name: 'jit', make: (runtime, model) => jit(runtime, model, { threshold: 1, batch: 1, patience: 0 }) },
];

/** Code that keeps changing is not compiled each time, as for users: for tests that do little else than change code. */
export const COMPILING_PATIENTLY: TestedAccelerator = {
  name: 'jit',
  make: (runtime, model) => jit(runtime, model, { threshold: 30, batch: 4 }),
};

/** Compiling later, a region takes in more of what has run; for tests that reach such regions. */
export const COMPILING_LATER: TestedAccelerator = {
  name: 'jit, later',
  make: (runtime, model) => jit(runtime, model, { threshold: 5, batch: 1, patience: 0 }),
};
