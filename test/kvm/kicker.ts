/** A thread that kicks a vCPU each time it is told that the vCPU is about to run: see kick.test.ts. */
import { workerData } from 'node:worker_threads';
import { koffiNative } from '../../src/node/kvm/koffi.ts';
import { kickVCpu, type Kick } from '../../src/node/kvm/vcpu-page.ts';

export interface KickerData {
  readonly kick: Kick;
  readonly rounds: number;
  /** Shared words: the round that is on, the round that has been kicked. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** When each round's kick was sent, in nanoseconds of the process's clock. */
  readonly sentNs: BigInt64Array<SharedArrayBuffer>;
  /** Each round waits up to that long, so that kicks meet every point between two runs. */
  readonly spreadNs: number;
}

async function kicks({ kick, rounds, words, sentNs, spreadNs }: KickerData): Promise<void> {
  const native = await koffiNative();
  for (let round = 1; round <= rounds; round++) {
    while (Atomics.load(words, 0) < round) Atomics.wait(words, 0, round - 1, 1000);
    const until = process.hrtime.bigint() + BigInt(Math.floor((spreadNs * (round % 97)) / 97));
    while (process.hrtime.bigint() < until);
    Atomics.store(sentNs, round - 1, process.hrtime.bigint());
    kickVCpu(native, kick);
  }
}

void kicks(workerData as KickerData);
