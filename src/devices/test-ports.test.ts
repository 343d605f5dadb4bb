import { expect, test } from 'vitest';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingChar, RecordingLine } from '../machine/testing/recorders.ts';
import { DebugPort, PostPort } from './debug-port.ts';
import { IsaDebugExit } from './isa-debug-exit.ts';
import { PcTestdev } from './pc-testdev.ts';

function testdev() {
  const lines = Array.from({ length: 24 }, () => new RecordingLine());
  const flushed: number[] = [];
  return { device: new PcTestdev(lines, (gpa) => void flushed.push(gpa)), lines, flushed };
}

deviceSuite('pc-testdev', () => {
  const { device, lines } = testdev();
  return {
    device,
    lines,
    faces: [
      { face: device.ioport, size: 4 },
      { face: device.memory, size: 0x1_0000 },
      { face: device.irqs, size: 24 },
      { face: device.flush, size: 4 },
    ],
    disturb() {
      device.ioport.write(0, 4, 0x1234_5678);
      device.memory.write(0xffff, 1, 9);
      device.irqs.write(5, 4, 1);
    },
  };
});

deviceSuite('post-port', () => {
  const device = new PostPort();
  return { device, faces: [{ face: device, size: 1 }], disturb: () => device.write(0, 1, 0x55) };
});

test('pc-testdev keeps a value across port widths', () => {
  const { ioport } = testdev().device;
  ioport.write(0, 4, 0x1234_5678);
  expect([ioport.read(0, 1), ioport.read(1, 1), ioport.read(2, 2)]).toEqual([0x78, 0x56, 0x1234]);
  ioport.write(2, 1, 0xaa);
  expect(ioport.read(0, 4)).toBe(0x12aa_5678);
});

test('pc-testdev drives interrupt lines, keeps memory and flushes pages', () => {
  const { device, lines, flushed } = testdev();
  device.irqs.write(9, 1, 1);
  expect(lines[9]!.level).toBe(true);
  device.irqs.write(9, 1, 0);
  expect(lines[9]!.level).toBe(false);
  device.memory.write(0x8, 4, 0xdead_beef);
  expect(device.memory.read(0x9, 2)).toBe(0xadbe);
  device.flush.write(0, 4, 0x5000);
  expect(flushed).toEqual([0x5000]);
});

test('isa-debug-exit gives the value as written', () => {
  const values: number[] = [];
  const device = new IsaDebugExit((value) => void values.push(value));
  device.write(0, 4, 0x31);
  expect(values).toEqual([0x31]);
});

test('the debug port prints, and can be found', () => {
  const output = new RecordingChar();
  const device = new DebugPort(output);
  for (const c of 'ok') device.write(0, 1, c.charCodeAt(0));
  expect(output.text).toBe('ok');
  expect(device.read(0, 1)).toBe(0xe9);
});
