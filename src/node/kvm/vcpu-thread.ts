/** The thread of one vCPU: enters KVM_RUN when it is told to, and says when it is out. It has the vCPU's file descriptor, and no more. */
import { parentPort, workerData } from 'node:worker_threads';
import { KVM_RUN, KVM_SET_SIGNAL_MASK, EINTR } from './abi.ts';
import { koffiNative } from './koffi.ts';
import { RunSignal, signalThread } from './run-signal.ts';
import { ASLEEP, BELL, END, HERE, MAIN, NOT_ENTERED, OVER, OWNER, REQUEST, RESULT, THREAD, TID, type ThreadData } from './thread-words.ts';

async function live({ fd, pid, memory, shared }: ThreadData): Promise<void> {
  const native = await koffiNative();
  const words = new Int32Array(memory.buffer);
  // Ended before it began: the descriptor may be another file's by now.
  if (Atomics.load(words, OWNER) === END) return;
  const signal = new RunSignal(native, pid);
  native.ioctlData(fd, KVM_SET_SIGNAL_MASK, signal.mask);
  Atomics.store(words, TID, signal.thread.tid);
  for (;;) {
    const owner = Atomics.load(words, OWNER);
    if (owner === END) break;
    if (owner !== THREAD) {
      Atomics.wait(words, OWNER, owner);
      continue;
    }
    // Whoever kicks sets the word before it sends the signal: with the word seen, the signal may be forgotten.
    const result = Atomics.exchange(words, REQUEST, 0) ? NOT_ENTERED : native.ioctl(fd, KVM_RUN, 0);
    if (result === -EINTR || result === NOT_ENTERED) signal.drain();
    Atomics.store(words, RESULT, result);
    // An end that was asked for meanwhile stays.
    Atomics.compareExchange(words, OWNER, THREAD, MAIN);
    Atomics.add(shared, BELL, 1);
    Atomics.notify(shared, BELL);
    const main = Atomics.load(shared, HERE);
    if (main !== 0) signalThread(native, { pid, tid: main });
    if (Atomics.exchange(shared, ASLEEP, 0)) parentPort!.postMessage(undefined, []);
  }
  signal.dispose();
}

/** However it ends, nobody waits for it for ever. */
async function thread(data: ThreadData): Promise<void> {
  const words = new Int32Array(data.memory.buffer);
  try {
    await live(data);
  } finally {
    Atomics.store(words, OWNER, OVER);
    Atomics.notify(words, OWNER);
    Atomics.add(data.shared, BELL, 1);
    Atomics.notify(data.shared, BELL);
  }
}

void thread(workerData as ThreadData);
