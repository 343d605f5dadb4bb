import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Disposable } from '../../src/base/disposable.ts';
import { buildRunner, NativeUnavailable } from './build.ts';
import { initialFp, type Case, type Result } from './case.ts';
import { FEATURE_REPORT_SIZE, parseFeatures, type HostFeatures } from './features.ts';
import { BATCH_OUTCOME, decodeResults, encodeBatch, FILE_SIZE } from './wire.ts';

/** Cases sent at once; bounds the memory of a batch. */
const BATCH = 8192;

/** One process of the runner. Bytes pass through two unlinked files that it maps; the pipes only carry turns. */
class Runner {
  readonly #child: ChildProcess;
  readonly #input: number;
  readonly #output: number;
  #received: Buffer = Buffer.alloc(0);
  #errors = '';
  #ended = false;
  #wake: () => void = () => {};

  constructor(path: string) {
    const folder = mkdtempSync(join(tmpdir(), 'daybreak-native-'));
    this.#input = openSync(join(folder, 'cases'), 'w+');
    this.#output = openSync(join(folder, 'results'), 'w+');
    rmSync(folder, { recursive: true });
    ftruncateSync(this.#input, FILE_SIZE);
    ftruncateSync(this.#output, FILE_SIZE);
    this.#child = spawn(path, { stdio: ['pipe', 'pipe', 'pipe', this.#input, this.#output] });
    this.#child.stdout!.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#child.stdin!.on('error', () => {});
    this.#child.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** What the runner said before it died, if anything. */
  get errors(): string {
    return this.#errors.trim();
  }

  /** The next bytes of its standard output, or undefined when it has died. */
  async receive(length: number): Promise<Buffer | undefined> {
    while (this.#received.length < length) {
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return bytes;
  }

  /** Runs as many of the cases as fit, or gives undefined when that killed the runner. */
  async run(cases: readonly Case[]): Promise<Result[] | undefined> {
    const batch = encodeBatch(cases);
    writeSync(this.#input, batch, 0, batch.length, 0);
    this.#child.stdin!.write('r');
    if (!(await this.receive(1))) return undefined;
    const outcome = new Uint32Array(2);
    readSync(this.#input, outcome, 0, BATCH_OUTCOME.length, BATCH_OUTCOME.offset);
    const bytes = new Uint8Array(outcome[1]!);
    readSync(this.#output, bytes, 0, bytes.length, 0);
    return decodeResults(bytes, cases, outcome[0]!);
  }

  close(): void {
    this.#child.stdin!.end();
    closeSync(this.#input);
    closeSync(this.#output);
  }
}

/** The host's own processor as the judge of user-mode instructions. */
export class NativeCpu implements Disposable {
  readonly features: HostFeatures;
  readonly #path: string;
  #runner: Runner;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(path: string, runner: Runner, features: HostFeatures) {
    this.#path = path;
    this.#runner = runner;
    this.features = features;
  }

  /** Builds and starts the runner. Throws `NativeUnavailable` with the reason where that is not possible. */
  static async create(): Promise<NativeCpu> {
    const path = buildRunner();
    const runner = new Runner(path);
    const report = await runner.receive(FEATURE_REPORT_SIZE);
    if (!report) {
      runner.close();
      throw new NativeUnavailable(`native cases cannot run here: ${runner.errors}`);
    }
    return new NativeCpu(path, runner, parseFeatures(report));
  }

  /** One result a case, in order. Calls queue up; the runner works while the caller does other things. */
  run(cases: readonly Case[]): Promise<Result[]> {
    const result = this.#turn.then(() => this.#runAll(cases));
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Ends the runner. Work that is queued fails. */
  dispose(): void {
    this.#runner.close();
  }

  async #runAll(cases: readonly Case[]): Promise<Result[]> {
    const results: Result[] = [];
    let limit = BATCH;
    while (results.length < cases.length) {
      const batch = cases.slice(results.length, results.length + limit);
      const part = await this.#runner.run(batch);
      if (part) {
        for (const result of part) results.push(result);
        limit = Math.min(BATCH, limit * 2);
        continue;
      }
      const { errors } = this.#runner;
      if (errors !== '') throw new Error(`native runner: ${errors}`);
      this.#runner.close();
      this.#runner = new Runner(this.#path);
      await this.#runner.receive(FEATURE_REPORT_SIZE);
      if (batch.length === 1) results.push(crashed(batch[0]!));
      else limit = Math.ceil(batch.length / 2);
    }
    return results;
  }
}

function crashed(given: Case): Result {
  return {
    kind: 'crash',
    vector: 0,
    errorCode: 0,
    cr2: 0n,
    rip: BigInt(given.rip),
    rflags: given.rflags,
    gprs: given.gprs,
    selectors: new Uint16Array(6),
    fsBase: 0n,
    gsBase: 0n,
    fp: initialFp(),
    changes: [],
    signal: 0,
    siCode: 0,
  };
}
