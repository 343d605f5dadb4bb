import { expect, test } from 'vitest';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { Port92 } from './port92.ts';
import { RESET_VALUE, ResetControl } from './reset-control.ts';

deviceSuite('reset-control', () => {
  const device = new ResetControl(() => {});
  return { device, faces: [{ face: device, size: 1 }], disturb: () => device.write(0, 1, 0x0a) };
});

deviceSuite('port92', () => {
  const a20 = new RecordingLine();
  const device = new Port92(a20, () => {});
  return { device, lines: [a20], faces: [{ face: device, size: 1 }], disturb: () => device.write(0, 1, 1) };
});

test('the reset control register resets on a rising RST_CPU', () => {
  let resets = 0;
  const device = new ResetControl(() => void resets++);
  device.write(0, 1, 0x02);
  expect(resets).toBe(0);
  device.write(0, 1, RESET_VALUE);
  expect(resets).toBe(1);
  expect(device.read(0, 1)).toBe(0x02);
});

test('port 0x92 switches A20, and resets when bit 0 rises', () => {
  const a20 = new RecordingLine();
  let resets = 0;
  const device = new Port92(a20, () => void resets++);
  device.write(0, 1, 2);
  expect([a20.level, resets]).toEqual([true, 0]);
  device.write(0, 1, 0);
  expect(a20.level).toBe(false);
  device.write(0, 1, 1);
  device.write(0, 1, 1);
  expect(resets).toBe(1);
});
