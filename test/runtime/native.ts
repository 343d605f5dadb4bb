/**
 * The host's processor as the judge of the runtime: a C program, built into a temporary directory, that runs one
 * instruction over a batch of records (their layout: src/x86/runtime/testing/batch.ts).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildRuntime } from '../../scripts/build-runtime.mjs';

export const RECORD = 64;
const BATCH = 50_000;
const INPUT = 1 << 20;
const OUTPUT = INPUT + BATCH * RECORD;

/** One instruction: `c` is a C statement that reads record `i` and writes record `o`. */
export interface NativeOperation {
  readonly name: string;
  readonly op: number;
  readonly c: string;
}

/** Fills record `at` of the view with a random case. */
export type Generator = (view: DataView, at: number, random: Random) => void;

/** Seeded xorshift128+ in 32-bit halves. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    this.#a = seed | 1;
    this.#b = 0x9e3779b9;
    this.#c = 0x243f6a88;
    this.#d = 0xb7e15162;
    for (let i = 0; i < 20; i++) this.u32();
  }

  u32(): number {
    const t = this.#a ^ (this.#a << 11);
    this.#a = this.#b;
    this.#b = this.#c;
    this.#c = this.#d;
    this.#d = this.#d ^ (this.#d >>> 19) ^ t ^ (t >>> 8);
    return this.#d >>> 0;
  }

  below(limit: number): number {
    return this.u32() % limit;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** 64 bits with few transitions, many zeros or ones at the ends, or plain random ones. */
  u64Shaped(): bigint {
    switch (this.below(8)) {
      case 0:
        return (1n << BigInt(this.below(64))) & 0xffffffffffffffffn;
      case 1:
        return ((1n << BigInt(this.below(65))) - 1n) & 0xffffffffffffffffn;
      case 2:
        return BigInt.asUintN(64, -1n << BigInt(this.below(64)));
      case 3:
        return BigInt.asUintN(64, (1n << BigInt(this.below(64))) + (1n << BigInt(this.below(64))));
      case 4:
        return this.u64() >> BigInt(this.below(64));
      case 5:
        return BigInt.asUintN(64, this.u64() << BigInt(this.below(64)));
      default:
        return this.u64();
    }
  }
}

/** Whether a difference is allowed, given the host's record and ours. */
export type Forgive = (expected: Buffer, actual: Buffer) => boolean;
const never: Forgive = () => false;

type RunBatch = (group: number, op: number, count: number, src: number, dst: number) => void;

/** Holds both sides, and compares them. */
export class Judge {
  readonly #folder: string;
  readonly #memory: WebAssembly.Memory;
  readonly #run: RunBatch;
  readonly #group: number;

  private constructor(folder: string, memory: WebAssembly.Memory, run: RunBatch, group: number) {
    this.#folder = folder;
    this.#memory = memory;
    this.#run = run;
    this.#group = group;
  }

  /** Builds both sides; `prelude` is C that the operations use. */
  static async create(group: number, prelude: string, operations: readonly NativeOperation[]): Promise<Judge> {
    const folder = mkdtempSync(join(tmpdir(), 'daybreak-runtime-'));
    const source = join(folder, 'native.c');
    writeFileSync(source, program(prelude, operations));
    const gcc = spawnSync('gcc', ['-O1', '-w', '-march=native', '-o', join(folder, 'native'), source], { encoding: 'utf8' });
    if (gcc.status !== 0) throw new Error(`gcc: ${gcc.stderr}`);
    const wasm = join('build', `runtime-test-${process.pid}-${group}.wasm`);
    await buildRuntime('src/x86/runtime/testing/batch.ts', wasm);
    const memory = new WebAssembly.Memory({ initial: 256, maximum: 65536, shared: true });
    const { instance } = await WebAssembly.instantiate(readFileSync(wasm), { env: { memory, abort: () => {} } });
    rmSync(wasm);
    return new Judge(folder, memory, instance.exports['runBatch'] as RunBatch, group);
  }

  /** Runs `count` cases through both and returns a description of the first few that differ. */
  compare(operation: NativeOperation, generate: Generator, count: number, seed: number, forgive: Forgive = never): string[] {
    const random = new Random(seed);
    const differences: string[] = [];
    let different = 0;
    for (let done = 0; done < count; done += BATCH) {
      const size = Math.min(BATCH, count - done);
      const input = new Uint8Array(this.#memory.buffer, INPUT, size * RECORD);
      const actual = new Uint8Array(this.#memory.buffer, OUTPUT, size * RECORD);
      input.fill(0);
      actual.fill(0);
      const view = new DataView(this.#memory.buffer, INPUT, size * RECORD);
      for (let n = 0; n < size; n++) generate(view, n * RECORD, random);
      this.#run(this.#group, operation.op, size, INPUT, OUTPUT);
      const native = spawnSync(join(this.#folder, 'native'), [String(operation.op)], { input: Buffer.from(input), maxBuffer: 1 << 26 });
      if (native.status !== 0) throw new Error(`native ${operation.name}: ${native.signal ?? native.status}`);
      const expected = native.stdout;
      const got = Buffer.from(actual);
      for (let at = 0; at < size * RECORD; at += RECORD) {
        if (expected.compare(got, at, at + RECORD, at, at + RECORD) === 0) continue;
        if (forgive(expected.subarray(at, at + RECORD), got.subarray(at, at + RECORD))) continue;
        different++;
        if (differences.length < 12)
          differences.push(describe(Buffer.from(input.subarray(at, at + RECORD)), expected.subarray(at), got.subarray(at)));
      }
    }
    if (different > 0) differences.unshift(`${operation.name}: ${different} of ${count} differ`);
    return differences;
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

function hex(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.subarray(at, at + length).toReversed()).toString('hex');
}

function describe(input: Uint8Array, expected: Uint8Array, actual: Uint8Array): string {
  const operands = `a=${hex(input, 0, 16)} b=${hex(input, 16, 16)} c=${hex(input, 32, 16)} control=${hex(input, 48, 4)} imm=${hex(input, 52, 4)}`;
  const out = (record: Uint8Array) => `${hex(record, 0, 16)} ${hex(record, 16, 16)} flags=${hex(record, 32, 4)} ${hex(record, 36, 4)}`;
  return `${operands}\n   host ${out(expected)}\n   ours ${out(actual)}`;
}

function program(prelude: string, operations: readonly NativeOperation[]): string {
  return `
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <immintrin.h>
typedef struct { uint8_t a[16], b[16], c[16]; uint32_t control, imm; uint8_t pad[8]; } __attribute__((aligned(16))) in;
typedef struct { uint8_t r0[16], r1[16]; uint32_t flags, extra; uint8_t pad[24]; } __attribute__((aligned(16))) out;
${prelude}
static void run(int op, in *i, out *o) {
  switch (op) {
${operations.map(({ op, c }) => `    case ${op}: { ${c} } break;`).join('\n')}
    default: exit(3);
  }
}
int main(int argc, char **argv) {
  static in i; static out o;
  int op = atoi(argv[1]);
  while (fread(&i, sizeof i, 1, stdin) == 1) {
    memset(&o, 0, sizeof o);
    run(op, &i, &o);
    fwrite(&o, sizeof o, 1, stdout);
  }
  return 0;
}
`;
}
