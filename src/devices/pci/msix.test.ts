import { beforeEach, expect, test } from 'vitest';
import { RecordingMsi } from '../../machine/testing/recorders.ts';
import { MSIX_BAR_SIZE, Msix } from './msix.ts';
import { PciFunction } from './pci-function.ts';

const PBA = 0x800;
const CONTROL = 0x42;
let sink: RecordingMsi;
let msix: Msix;
let pci: PciFunction;

beforeEach(() => {
  sink = new RecordingMsi();
  msix = new Msix(3, sink);
  pci = new PciFunction('card', { vendorId: 1, deviceId: 2, classCode: 0 }, [
    { index: 1, kind: 'mem32', size: MSIX_BAR_SIZE, device: msix },
  ]);
  msix.install(pci, 1);
  pci.onConfigWrite = (offset, width) => {
    if (msix.ownsConfig(offset, width)) msix.flush();
  };
  for (let vector = 0; vector < 3; vector++) {
    msix.write(vector * 16, 4, 0xfee0_0000);
    msix.write(vector * 16 + 8, 4, 0x40 + vector);
  }
});

const setControl = (value: number): void => pci.configWrite(CONTROL, 2, value);
const unmask = (vector: number): void => msix.write(vector * 16 + 12, 4, 0);

test('the capability tells the number of vectors and where table and pending bits are', () => {
  expect(pci.configRead(0x34, 1)).toBe(0x40);
  expect(pci.configRead(0x40, 4)).toBe(0x0002_0011);
  expect(pci.configRead(0x44, 4)).toBe(1);
  expect(pci.configRead(0x48, 4)).toBe(PBA | 1);
});

test('an unmasked vector sends its message', () => {
  setControl(0x8000);
  unmask(1);
  msix.raise(1);
  expect(sink.sent).toEqual([{ address: 0xfee0_0000, data: 0x41 }]);
});

test('nothing is sent while MSI-X is disabled, nor for a vector that does not exist', () => {
  unmask(0);
  msix.raise(0);
  setControl(0x8000);
  msix.raise(3);
  msix.raise(0xffff);
  expect(sink.sent).toEqual([]);
});

test('a masked vector is pending until it is unmasked, and is then sent once', () => {
  setControl(0x8000);
  msix.raise(2);
  msix.raise(2);
  expect(msix.read(PBA, 4)).toBe(4);
  unmask(2);
  expect(sink.sent).toEqual([{ address: 0xfee0_0000, data: 0x42 }]);
  expect(msix.read(PBA, 4)).toBe(0);
});

test('the function mask holds every vector back', () => {
  setControl(0xc000);
  unmask(0);
  unmask(1);
  msix.raise(1);
  msix.raise(0);
  expect(sink.sent).toEqual([]);
  setControl(0x8000);
  expect(sink.sent.map(({ data }) => data)).toEqual([0x40, 0x41]);
});

test('only the mask bit of vector control can be changed, and pending bits not at all', () => {
  msix.write(12, 4, 0xffff_ffff);
  expect(msix.read(12, 4)).toBe(1);
  msix.write(PBA, 4, 0xffff_ffff);
  expect(msix.read(PBA, 4)).toBe(0);
});
