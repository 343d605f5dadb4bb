/** What the machine needs of WebAssembly beyond its first version, and whether a browser has it. */

export interface WasmFeature {
  readonly name: string;
  /** Oldest versions of browsers that have it. */
  readonly since: string;
  /** The smallest module that needs it. */
  readonly module: readonly number[];
}

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** One function without parameters or results, with this body. */
const oneFunction = (...body: number[]): number[] => [
  ...[...HEADER, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0],
  ...[10, body.length + 4, 1, body.length + 2, 0, ...body, 0x0b],
];

/** WebAssembly Core Specification 3.0, 5.4 (instructions) and 5.5 (modules). */
export const NEEDED: readonly WasmFeature[] = [
  {
    name: 'fixed-width SIMD',
    since: 'Chromium 91, Firefox 89, Safari 16.4',
    // v128.const 0; drop
    module: oneFunction(0xfd, 0x0c, ...Array.from<number>({ length: 16 }).fill(0), 0x1a),
  },
  {
    name: 'tail calls',
    since: 'Chromium 112, Firefox 121, Safari 18.2',
    // return_call 0
    module: oneFunction(0x12, 0),
  },
  {
    name: 'shared memory',
    since: 'Chromium 74, Firefox 79, Safari 14.1',
    // One shared memory of 1 to 1 pages.
    module: [...HEADER, 5, 4, 1, 3, 1, 1],
  },
];

/** Those of `NEEDED` that are missing here. */
export function missingFeatures(validate: (module: Uint8Array<ArrayBuffer>) => boolean): WasmFeature[] {
  return NEEDED.filter(({ module }) => !validate(Uint8Array.from(module)));
}
