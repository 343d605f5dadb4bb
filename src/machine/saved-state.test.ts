import { Buffer } from 'node:buffer';
import { beforeAll, describe, expect, test } from 'vitest';
import { nodeStateCodec } from '../node/state-codec.ts';
import { PAGE_SIZE, Memory } from './memory.ts';
import { dataToText, textToData } from './saved-state-data.ts';
import { openState, PAGES_IN_FRAME, writeState, type OpenedState } from './saved-state-file.ts';
import { orderState } from './saved-state-order.ts';
import { StatePages } from './saved-state-supply.ts';
import type { ByteSource, StateCodec } from './saved-state.ts';
import { concatBytes } from '../base/bytes.ts';
import { seededRandom } from './testing/random.ts';

const MIB = 2 ** 20;
const DESCRIPTION = { clock: 12, block: Uint8Array.of(1, 2, 255), word: 1n << 63n, list: [true, 'infinity'] };

let codec: StateCodec;
beforeAll(async () => void (codec = await nodeStateCodec()));

const sourceOf = (data: Uint8Array): ByteSource => ({
  name: 'machine.state',
  sizeBytes: data.length,
  read: (offset, length) => data.subarray(offset, offset + length),
});
const open = (data: Uint8Array): OpenedState => openState(sourceOf(data), codec);
const saved = (memory: Memory): Uint8Array => concatBytes([...writeState(DESCRIPTION, memory, codec)]);

function fillPage(memory: Memory, page: number, seed: number): void {
  const random = seededRandom(seed);
  const at = page * PAGE_SIZE;
  for (let n = 0; n < PAGE_SIZE; n++) memory.bytes[memory.ramOffset + at + n] = random(256);
  memory.written(memory.pageAddress(page), PAGE_SIZE);
}

/** 40 pages of 30 contents among zeros. */
function usedMemory(): Memory {
  const memory = new Memory(4 * MIB, 0);
  for (let n = 0; n < 40; n++) fillPage(memory, 3 + n * 20, 1 + (n % 30));
  return memory;
}

/** Whether two memories have the same contents. */
const sameRam = (one: Memory, other: Memory): boolean =>
  Buffer.compare(...([one, other].map(({ bytes, ramOffset }) => bytes.subarray(ramOffset)) as [Uint8Array, Uint8Array])) === 0;
const refused = { code: 'bad-state', message: expect.stringContaining('machine.state: ') as string };

describe('a saved state', () => {
  test('gives back the description and all of RAM', () => {
    const memory = usedMemory();
    const state = open(saved(memory));
    expect(state.description).toEqual(DESCRIPTION);
    const restored = new Memory(4 * MIB, 0);
    restored.supplyFrom(new StatePages(state, restored.sizeBytes, 'machine.state'));
    expect(sameRam(restored, memory)).toBe(true);
  });

  test('holds nothing of pages that the guest gave up', () => {
    const memory = usedMemory();
    const told: number[] = [];
    memory.onWritten = (gpa) => told.push(gpa);
    memory.release(3 * PAGE_SIZE, 21 * PAGE_SIZE);
    expect(told).toEqual([3, 23].map((page) => page * PAGE_SIZE));
    memory.release(memory.sizeBytes, PAGE_SIZE); // no RAM
    const state = open(saved(memory));
    expect([...state.pages].slice(0, 2)).toEqual([43, 63]);
    expect(state.pages).toHaveLength(38);
  });

  test('has zeros where a range was cleared, and the bytes beside it', () => {
    const restored = new Memory(4 * MIB, 0);
    restored.onAbsence = () => {}; // an accelerator that waits for pages
    restored.supplyFrom(new StatePages(open(saved(usedMemory())), restored.sizeBytes, 'machine.state'));
    const expected = usedMemory();
    expected.view(3 * PAGE_SIZE + 10, 20 * PAGE_SIZE)!.fill(0);
    restored.clear(3 * PAGE_SIZE + 10, 20 * PAGE_SIZE);
    restored.bringAll();
    expect(sameRam(restored, expected)).toBe(true);
  });

  test('does not bring a page that the guest has given up meanwhile', () => {
    const state = open(saved(usedMemory()));
    const restored = new Memory(4 * MIB, 0);
    restored.onAbsence = () => {}; // an accelerator that waits for pages
    restored.supplyFrom(new StatePages(state, restored.sizeBytes, 'machine.state'));
    restored.release(3 * PAGE_SIZE, PAGE_SIZE);
    restored.bringAll();
    const page = (number: number): Uint8Array => restored.view(number * PAGE_SIZE, PAGE_SIZE)!;
    expect(page(3).every((byte) => byte === 0)).toBe(true);
    expect(page(23).every((byte) => byte === 0)).toBe(false);
  });

  test('tells which pages are asked for, and brings no others meanwhile', () => {
    const asked: number[] = [];
    const restored = new Memory(4 * MIB, 0);
    restored.onAbsence = () => {};
    restored.supplyFrom(new StatePages(open(saved(usedMemory())), restored.sizeBytes, 'machine.state', (page) => asked.push(page)));
    for (const page of [63, 64, 3, 63]) restored.view(page * PAGE_SIZE, PAGE_SIZE);
    expect(asked).toEqual([63, 3]);
    expect(restored.bytes[restored.ramOffset + 23 * PAGE_SIZE]).toBe(0);
    restored.bringAll();
    expect(sameRam(restored, usedMemory())).toBe(true);
  });

  test('put in another order is the same machine, with what it needs first at the beginning and nothing else there', () => {
    const before = saved(usedMemory());
    // Two pages of one content, one that has none, and more than a frame.
    const first = [603, 3, 5, ...Array.from({ length: 20 }, (_, n) => 783 - 20 * n)];
    const { data, firstBytes, tailBytes } = orderState(sourceOf(before), first, codec);
    const reads: number[] = [];
    const watched: ByteSource = {
      ...sourceOf(data),
      read: (offset, length) => (reads.push(offset, offset + length), data.subarray(offset, offset + length)),
    };
    const state = openState(watched, codec);
    expect(state.description).toEqual(DESCRIPTION);
    expect(reads.every((at) => at <= 16 || at >= data.length - tailBytes)).toBe(true);
    reads.length = 0;
    const restored = new Memory(4 * MIB, 0);
    restored.onAbsence = () => {};
    restored.supplyFrom(new StatePages(state, restored.sizeBytes, 'machine.state'));
    for (const page of first) restored.view(page * PAGE_SIZE, PAGE_SIZE);
    expect(Math.max(...reads)).toBe(firstBytes);
    restored.bringAll();
    expect(sameRam(restored, usedMemory())).toBe(true);
    expect(() => orderState(sourceOf(before.subarray(0, -1)), first, codec)).toThrow(expect.objectContaining(refused));
  });

  test('takes over frames of another one, where most of their pages are needed, and is the same machine', () => {
    // 160 contents; a day later they lie elsewhere, every page of the third frame and two of the fifth have changed, and some are new.
    const [day, next] = [new Memory(4 * MIB, 0), new Memory(4 * MIB, 0)];
    for (let n = 0; n < 160; n++) fillPage(day, 2 * n, n);
    const first = [0, 2, 4, 300, 302];
    const old = orderState(sourceOf(saved(day)), first, codec).data;
    const changed = (n: number): boolean => (n >= 32 && n < 48) || n === 70 || n === 75;
    for (let n = 0; n < 160; n++) fillPage(next, 1000 - 3 * n, changed(n) ? 1000 + n : n);
    for (let n = 0; n < 20; n++) fillPage(next, 1003 + n, 2000 + n);
    const needed = [1000, 997, 520, 10];
    const data = saved(next);
    const ordered = orderState(sourceOf(data), needed, codec, sourceOf(old));
    const [state, other] = [open(ordered.data), open(old)];
    const names = new Set(other.frames.map(({ digest }) => digest.join()));
    // Ten frames: what comes first, what has changed, and where more than a quarter was.
    expect(state.frames.filter(({ digest }) => names.has(digest.join())).length).toBeGreaterThanOrEqual(6);
    expect(state.frames.length).toBeLessThanOrEqual(14);
    state.verify();
    const restored = new Memory(4 * MIB, 0);
    restored.supplyFrom(new StatePages(state, restored.sizeBytes, 'machine.state'));
    expect(sameRam(restored, next)).toBe(true);
    // Its beginning still has all that comes first.
    const read: number[] = [];
    const watched: ByteSource = {
      ...sourceOf(ordered.data),
      read: (at, length) => (read.push(at), ordered.data.subarray(at, at + length)),
    };
    const pages = new StatePages(openState(watched, codec), restored.sizeBytes, 'machine.state');
    read.length = 0;
    for (const page of needed) pages.bring(page, () => {});
    expect(read.length).toBeGreaterThan(0);
    for (const at of read) expect(at).toBeLessThan(ordered.firstBytes);
    expect(() => orderState(sourceOf(data), needed, codec, sourceOf(old.subarray(0, -1)))).toThrow(expect.objectContaining(refused));
    // The same again takes everything over, and one that has nothing in common nothing.
    const again = open(orderState(sourceOf(data), [], codec, sourceOf(ordered.data)).data);
    expect(again.frames.length).toBeLessThanOrEqual(state.frames.length + 1);
    const strange = new Memory(4 * MIB, 0);
    for (let n = 0; n < 40; n++) fillPage(strange, n, 5000 + n);
    const none = orderState(sourceOf(data), needed, codec, sourceOf(saved(strange)));
    expect(none.data).toEqual(orderState(sourceOf(data), needed, codec).data);
  });

  test('holds a content once, and no zeros', () => {
    const state = open(saved(usedMemory()));
    expect(state.pages).toHaveLength(40);
    expect(new Set(state.contents).size).toBe(30);
    expect(state.frames).toHaveLength(Math.ceil(30 / PAGES_IN_FRAME));
  });

  test('of a memory whose writes nobody noted has its pages all the same', () => {
    const memory = new Memory(MIB, 0);
    memory.bytes[5 * PAGE_SIZE] = 1;
    expect([...open(saved(memory)).pages]).toEqual([5]);
    memory.tracksWrites = true;
    expect([...open(saved(memory)).pages]).toEqual([]);
  });

  test('is the same bytes for the same machine, restored or not', () => {
    const data = saved(usedMemory());
    const restored = new Memory(4 * MIB, 0);
    restored.onAbsence = () => {};
    restored.supplyFrom(new StatePages(open(data), restored.sizeBytes, 'machine.state'));
    expect(Buffer.compare(saved(restored), data)).toBe(0);
  });

  test('has some hundred megabytes of what the machine describes as bytes, whatever their lengths', { timeout: 120_000 }, () => {
    // 200 MiB of a file system's blocks, and as many names as in a large one; every second block is the same memory here.
    const random = seededRandom(3);
    const noise = Uint8Array.from({ length: 2 ** 16 + 5000 }, () => random(256));
    const blocks = Array.from({ length: 3200 }, (_, n) => (n % 2 ? new Uint8Array(2 ** 16).fill(n) : noise.subarray(n, n + 2 ** 16)));
    const names = Array.from({ length: 50_000 }, (_, n) => ({ ino: n, name: noise.subarray(n % 60_000, (n % 60_000) + (n % 40)) }));
    const description = { blocks, names, empty: new Uint8Array(0) };
    const pieces = [...writeState(description, usedMemory(), codec)];
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(8 * MIB);
    const state = open(concatBytes(pieces));
    const found = state.description as typeof description;
    const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;
    expect(found.blocks).toHaveLength(blocks.length);
    expect(found.blocks.every((block, n) => same(block, blocks[n]!))).toBe(true);
    expect(found.names.every(({ ino, name }, n) => ino === n && same(name, names[n]!.name))).toBe(true);
    expect(found.empty).toEqual(new Uint8Array(0));
    expect(state.pages).toHaveLength(40);
  });

  test('brings a page when it is asked for, and keeps what was written since', () => {
    const data = saved(usedMemory());
    const memory = new Memory(4 * MIB, 0);
    const told: boolean[] = [];
    memory.onAbsence = (some) => told.push(some);
    memory.supplyFrom(new StatePages(open(data), memory.sizeBytes, 'machine.state'));
    const host = (page: number): number => memory.ramOffset + page * PAGE_SIZE;
    expect(memory.bytes[host(3)]).toBe(0);
    const wanted = usedMemory();
    expect(memory.view(3 * PAGE_SIZE, 8)).toEqual(wanted.view(3 * PAGE_SIZE, 8));
    memory.write32(3 * PAGE_SIZE, 0x12345678);
    memory.bringAll();
    expect(memory.read32(3 * PAGE_SIZE)).toBe(0x12345678);
    expect(memory.view(783 * PAGE_SIZE, 8)).toEqual(wanted.view(783 * PAGE_SIZE, 8));
    expect(told).toEqual([true, false]);
  });
});

describe('a damaged state is refused', { timeout: 120_000 }, () => {
  test('at whatever place it ends', () => {
    const data = saved(usedMemory());
    for (const length of [...Array.from({ length: 64 }, (_, n) => n), ...Array.from({ length: 400 }, (_, n) => data.length - 1 - n)]) {
      expect(() => open(data.slice(0, length)), `cut to ${length}`).toThrow(expect.objectContaining(refused) as Error);
    }
    for (let length = 64; length < data.length; length += 997) {
      expect(() => open(data.slice(0, length)), `cut to ${length}`).toThrow(expect.objectContaining(refused) as Error);
    }
  });

  test('whichever byte was changed', () => {
    const memory = new Memory(MIB, 0);
    fillPage(memory, 9, 1);
    fillPage(memory, 10, 2);
    const data = saved(memory);
    for (let at = 0; at < data.length; at++) {
      const changed = data.slice();
      changed[at]! ^= 1 << (at % 8);
      expect(() => {
        const restored = new Memory(MIB, 0);
        restored.supplyFrom(new StatePages(open(changed), restored.sizeBytes, 'machine.state'));
      }, `byte ${at}`).toThrow(expect.objectContaining(refused) as Error);
      expect(() => open(changed).verify(), `byte ${at}, verified beforehand`).toThrow(expect.objectContaining(refused) as Error);
    }
  });

  test('when it is of another version, and says which one works', () => {
    const data = saved(usedMemory());
    data[8] = 1;
    expect(() => open(data)).toThrow('machine.state: a saved state of version 1 cannot be restored (supported: 4)');
  });

  test('when its description names bytes that are not there, or that nobody can have', () => {
    for (const length of [5, -1, 0.5, 2 ** 40]) {
      const data = concatBytes([...writeState({ a: Uint8Array.of(1, 2), b: { $bytes: length } }, new Memory(MIB, 0), codec)]);
      expect(() => open(data), String(length)).toThrow(expect.objectContaining(refused) as Error);
    }
  });

  test('when it is something else', () => {
    expect(() => open(new TextEncoder().encode('#!/bin/sh\necho hello, this is no state at all'))).toThrow('not a saved state of Daybreak');
  });

  test('when it has more memory than its machine', () => {
    const state = open(saved(usedMemory()));
    expect(() => new StatePages(state, 2 * MIB, 'machine.state')).toThrow('more memory than its machine');
  });

  test('when its index, with a digest that is right, does not fit together', () => {
    const random = seededRandom(5);
    const data = saved(usedMemory());
    const view = new DataView(data.buffer, data.length - 56);
    const [offset, length, indexBytes] = [Number(view.getBigUint64(0, true)), view.getUint32(8, true), view.getUint32(12, true)];
    const index = codec.decompress(data.slice(offset, offset + length));
    expect(index).toHaveLength(indexBytes);
    for (let round = 0; round < 300; round++) {
      const forged = index.slice();
      for (let n = 0; n <= random(4); n++) forged[random(round % 2 ? 16 : index.length)] = random(256);
      const packed = codec.compress(forged);
      const foot = data.slice(-56);
      new DataView(foot.buffer).setUint32(8, packed.length, true);
      foot.set(codec.sha256(packed), 16);
      const restored = new Memory(4 * MIB, 0);
      try {
        restored.supplyFrom(new StatePages(open(concatBytes([data.slice(0, offset), packed, foot])), restored.sizeBytes, 'machine.state'));
      } catch (error) {
        expect(error).toEqual(expect.objectContaining(refused));
      }
    }
  });
});

test('plain data survives being text', () => {
  const { text, bytes } = dataToText(DESCRIPTION);
  expect(textToData(text, () => bytes.shift(), 'x')).toEqual(DESCRIPTION);
  expect(() => textToData('{"a":', () => undefined, 'x')).toThrow('x: the description of the machine cannot be read');
  expect(() => textToData('{"a":{"$bytes":4}}', () => undefined, 'x')).toThrow(
    'x: the description of the machine has not the bytes that it names',
  );
});
