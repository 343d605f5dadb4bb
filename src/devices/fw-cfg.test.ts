import { expect, test } from 'vitest';
import { Memory } from '../machine/memory.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { FW_CFG_PORTS, FwCfg } from './fw-cfg.ts';

const files = new Map([
  ['opt/note', new TextEncoder().encode('hello')],
  ['etc/table', Uint8Array.of(1, 2, 3, 4)],
]);

function bench(): { device: FwCfg; memory: Memory; read: (key: number, count: number) => number[] } {
  const memory = new Memory(2 ** 20, 0);
  const device = new FwCfg(memory, files, new Map([[5, Uint8Array.of(2, 0)]]));
  const read = (key: number, count: number): number[] => {
    device.write(0, 2, key);
    return Array.from({ length: count }, () => device.read(1, 1));
  };
  return { device, memory, read };
}

deviceSuite('fw_cfg', () => {
  const { device } = bench();
  return {
    device,
    faces: [{ face: device, size: FW_CFG_PORTS }],
    disturb: () => {
      device.write(0, 2, 0x20);
      device.read(1, 1);
      device.write(4, 4, 0x01000000);
    },
  };
});

const text = (bytes: readonly number[]): string => String.fromCharCode(...bytes);

test('identifies itself, and reads as zeros beyond an item and for unknown keys', () => {
  const { read } = bench();
  expect(text(read(0, 4))).toBe('QEMU');
  expect(read(1, 4)).toEqual([3, 0, 0, 0]);
  expect(read(5, 4)).toEqual([2, 0, 0, 0]);
  expect(read(0x1234, 2)).toEqual([0, 0]);
});

test('lists its files by name, and gives them by the keys in the list', () => {
  const { read } = bench();
  const listing = read(0x19, 4 + 2 * 64);
  expect(listing.slice(0, 4)).toEqual([0, 0, 0, 2]);
  expect(listing.slice(4, 12)).toEqual([0, 0, 0, 4, 0, 0x20, 0, 0]);
  expect(text(listing.slice(12, 22))).toBe('etc/table\0');
  expect(listing.slice(68, 76)).toEqual([0, 0, 0, 5, 0, 0x21, 0, 0]);
  expect(read(0x20, 4)).toEqual([1, 2, 3, 4]);
  expect(text(read(0x21, 5))).toBe('hello');
});

/** Starts a DMA request at 0x1000 and answers the control field that it leaves. */
function dma({ device, memory }: { device: FwCfg; memory: Memory }, control: number, length: number, address: number): number {
  const view = new DataView(memory.bytes.buffer, memory.ramOffset + 0x1000, 16);
  view.setUint32(0, control);
  view.setUint32(4, length);
  view.setUint32(8, Math.floor(address / 2 ** 32));
  view.setUint32(12, address);
  device.write(4, 4, 0);
  device.write(8, 4, 0x0010_0000); // 0x1000, big-endian
  return view.getUint32(0);
}

test('copies a file into guest memory in one request, with zeros behind its end, and tells the memory', () => {
  const it = bench();
  const told: number[][] = [];
  it.memory.onWritten = (gpa, length) => void told.push([gpa, length]);
  it.memory.view(0x2000, 8)!.fill(0xcc);
  expect(dma(it, 0x0021_000a, 7, 0x2000)).toBe(0);
  expect([...it.memory.view(0x2000, 8)!]).toEqual([0x68, 0x65, 0x6c, 0x6c, 0x6f, 0, 0, 0xcc]);
  expect(told).toContainEqual([0x2000, 7]);
});

test('skips within a file', () => {
  const it = bench();
  expect(dma(it, 0x0020_000c, 2, 0)).toBe(0);
  expect(it.device.read(1, 1)).toBe(3);
});

test('reports an error for memory that is not there and for writing, and ignores a request outside RAM', () => {
  const it = bench();
  expect(dma(it, 0x0020_000a, 16, 2 ** 20 - 8)).toBe(1);
  expect(dma(it, 0x0020_000a, 0xffff_ffff, 2 ** 40)).toBe(1);
  expect(dma(it, 0x0020_0018, 4, 0x2000)).toBe(1);
  it.device.write(4, 4, 0xffff_ffff);
  it.device.write(8, 4, 0xffff_ffff);
  expect(it.device.state.dmaHigh).toBe(0);
});
