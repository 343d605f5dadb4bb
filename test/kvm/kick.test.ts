/** Calling a vCPU out of the guest from another thread. */
import { Worker } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Guest, openKvm, type Kvm } from './guest.ts';
import type { KickerData } from './kicker.ts';

const SECOND = 1e9;
/** On a loaded computer each round may wait for its turn twice. */
const TIMEOUT_MS = 600_000;
const ROUNDS = 10_000;
/** Longer than from the word to the guest's first instruction. */
const SPREAD_NS = 100_000;

let kvm: Kvm | undefined;
let code = '';

beforeAll(async () => {
  kvm = await openKvm();
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('kicker.ts', import.meta.url))],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    packages: 'external',
  });
  code = outputFiles[0]!.text;
});
afterAll(() => kvm?.accelerator.dispose());

const shared = (length: number): SharedArrayBuffer => new SharedArrayBuffer(length);

describe('a kick from another thread', () => {
  test(`ends a run of a guest that loops for ever: ${ROUNDS} kicks at all times, none lost`, { timeout: TIMEOUT_MS }, async (context) => {
    if (!kvm) return context.skip('no KVM here');
    const guest = new Guest(kvm);
    guest.startReal([0xeb, 0xfe]);
    const words = new Int32Array(shared(8));
    const sentNs = new BigInt64Array(shared(ROUNDS * 8));
    const workerData: KickerData = { kick: guest.vcpu.kickHandle, rounds: ROUNDS, words, sentNs, spreadNs: SPREAD_NS };
    const worker = new Worker(code, { eval: true, workerData });
    await new Promise((resolve) => worker.once('online', resolve));
    const latencies: number[] = [];
    let lost = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      Atomics.store(words, 0, round);
      Atomics.notify(words, 0);
      // A kick that is lost makes this last until its time is over.
      const before = process.hrtime.bigint();
      guest.vcpu.run(20 * SECOND);
      const now = process.hrtime.bigint();
      if (now - before >= BigInt(20 * SECOND)) lost++;
      const sent = Atomics.load(sentNs, round - 1);
      // Another signal of this process may end a run early: the kick then ends the next one.
      if (sent === 0n) {
        guest.vcpu.run(20 * SECOND);
        continue;
      }
      latencies.push(Number(now - sent) / 1000);
    }
    await worker.terminate();
    guest.vcpu.dispose();
    expect(lost).toBe(0);
    expect(latencies.length).toBeGreaterThan(0);
    latencies.sort((a, b) => a - b);
    const median = latencies[latencies.length >> 1]!;
    console.log(`kick to the end of run: median ${median.toFixed(1)} µs, worst ${latencies.at(-1)!.toFixed(0)} µs`);
  });
});
