import { expect, test } from 'vitest';
import { deviceSuite } from '../../../machine/testing/device-suite.ts';
import { MEMORY_SIZE, TestDriver } from '../testing/driver.ts';
import { Memory } from '../../../machine/memory.ts';
import { VirtioRng } from './virtio-rng.ts';

const counting = () => {
  let next = 0;
  return { fill: (into: Uint8Array): void => into.forEach((_, i) => (into[i] = ++next)) };
};

test('fills what it is offered, over several buffers', () => {
  const driver = new TestDriver(new VirtioRng(counting())).start();
  const queue = driver.queues[0]!;
  const { addresses } = queue.add(3, 5);
  queue.notify();
  expect(queue.takeUsed()).toEqual([{ head: 0, length: 8 }]);
  expect([...driver.bytes(addresses[0]!, 3)]).toEqual([1, 2, 3]);
  expect([...driver.bytes(addresses[1]!, 5)]).toEqual([4, 5, 6, 7, 8]);
});

test('gives at most a page at once, and nothing for nothing', () => {
  const driver = new TestDriver(new VirtioRng(counting())).start();
  const queue = driver.queues[0]!;
  queue.add(100_000);
  queue.add(Uint8Array.of(1));
  queue.notify();
  expect(queue.takeUsed().map(({ length }) => length)).toEqual([4096, 0]);
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('virtio-rng', () => {
  const guest = new TestDriver(new VirtioRng(counting()), false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start();
      guest.queues[0]!.add(8);
      guest.queues[0]!.notify();
    },
    faces: [{ face: guest.transport, size: 0x4000 }],
    lines: [guest.line],
  };
});
