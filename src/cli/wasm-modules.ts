/** WebAssembly modules, compiled so that V8 does for each what repays it. Its flags are the process's, and hold for the modules that come next. */
import { setFlagsFromString } from 'node:v8';

/**
 * V8 takes the size of a function's machine code off the function's budget each time that it is left, however little of it has run, and optimises it when
 * nothing is left. With the same budget for all, large functions are optimised first and after the fewest runs, although that takes longest.
 * By the square of the size, the runs that it takes grow with the size. Measured: docs/performance.md.
 */
const BUDGET_PER_SQUARE_BYTE = 16;
/** V8's own budget, in Node 20. */
const LEAST = 1_800_000;
/** V8 keeps it as an i32. */
const MOST = 1e9;

/** The budget of a module's functions, which have one for all: that of their mean size, in bytes. */
export function budgetOf(sizes: readonly number[]): number {
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  return Math.round(Math.min(MOST, Math.max(LEAST, BUDGET_PER_SQUARE_BYTE * mean ** 2)));
}

/** A module of our own, lazily: most of its functions are never called, and those that are are called for ever. */
export function compileOwn(bytes: BufferSource): WebAssembly.Module {
  setFlagsFromString(`--wasm-tiering-budget=${LEAST}`);
  setFlagsFromString('--wasm-lazy-compilation');
  return new WebAssembly.Module(bytes);
}

/**
 * A module of guest code: all functions at once, on V8's threads, too: each of them is called soon, and lazily each would be made room for by itself.
 * @param sizes of the module's functions
 */
export function compileRegions(bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[]): WebAssembly.Module {
  setFlagsFromString(`--wasm-tiering-budget=${budgetOf(sizes)}`);
  setFlagsFromString('--no-wasm-lazy-compilation');
  return new WebAssembly.Module(bytes);
}
