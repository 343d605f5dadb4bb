import { describe, expect, test } from 'vitest';
import { TestClock } from '../machine/testing/clock.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { ACPI_DISABLE, ACPI_ENABLE, AcpiPm, SLP_TYP_S5 } from './acpi-pm.ts';

function bench(timerBits: 24 | 32 = 32) {
  const clock = new TestClock();
  const sci = new RecordingLine();
  let off = 0;
  const pm = new AcpiPm({ clock, sci, powerOff: () => void off++, timerBits });
  return { clock, sci, pm, offs: () => off };
}

deviceSuite('acpi-pm', () => {
  const { clock, sci, pm } = bench(24);
  return {
    device: pm,
    clock,
    lines: [sci],
    faces: [
      { face: pm.event, size: 4 },
      { face: pm.control, size: 2 },
      { face: pm.timer, size: 4 },
      { face: pm.gpe0, size: 4 },
      { face: pm.smiCommand, size: 1 },
    ],
    disturb() {
      pm.smiCommand.write(0, 1, ACPI_ENABLE);
      pm.event.write(2, 2, 0x0101);
      pm.gpe0.write(2, 2, 0x0004);
      pm.raiseGpe(2);
      clock.advance(5e9);
    },
  };
});

test('ACPI mode is entered and left through the SMI command port', () => {
  const { pm } = bench();
  pm.control.write(0, 2, 1);
  expect(pm.control.read(0, 2)).toBe(0);
  pm.smiCommand.write(0, 1, ACPI_ENABLE);
  expect(pm.control.read(0, 2)).toBe(1);
  pm.smiCommand.write(0, 1, ACPI_DISABLE);
  expect(pm.control.read(0, 2)).toBe(0);
});

describe('power', () => {
  test('S5 switches off, once for each SLP_EN', () => {
    const { pm, offs } = bench();
    pm.control.write(0, 2, SLP_TYP_S5 << 10);
    expect(offs()).toBe(0);
    pm.control.write(0, 2, (SLP_TYP_S5 << 10) | (1 << 13));
    expect(offs()).toBe(1);
    expect(pm.control.read(0, 2) & (1 << 13)).toBe(0);
  });

  test('another sleep state is left at once', () => {
    const { pm, offs } = bench();
    pm.control.write(0, 2, (1 << 10) | (1 << 13));
    expect(offs()).toBe(0);
    expect(pm.event.read(0, 2)).toBe(0x8000);
  });

  test('the power button raises the SCI until its status is cleared', () => {
    const { pm, sci } = bench();
    expect(pm.pressPowerButton()).toBe(false);
    expect(sci.level).toBe(false);
    pm.event.write(0, 2, 0xffff);
    pm.smiCommand.write(0, 1, ACPI_ENABLE);
    pm.event.write(2, 2, 0x0100);
    expect(pm.pressPowerButton()).toBe(true);
    expect(sci.level).toBe(true);
    expect(pm.event.read(0, 2)).toBe(0x0100);
    pm.event.write(0, 2, 0x0100);
    expect(sci.level).toBe(false);
  });

  test('a general-purpose event raises the SCI while it is enabled', () => {
    const { pm, sci } = bench();
    pm.smiCommand.write(0, 1, ACPI_ENABLE);
    pm.raiseGpe(9);
    expect(sci.level).toBe(false);
    pm.gpe0.write(3, 1, 0x02);
    expect(sci.level).toBe(true);
    pm.gpe0.write(1, 1, 0x02);
    expect(sci.level).toBe(false);
  });
});

describe('PM timer', () => {
  test('counts at 3.579545 MHz', () => {
    const { clock, pm } = bench();
    clock.advance(1e9);
    expect(pm.timer.read(0, 4)).toBe(3_579_545);
    clock.advance(1200e9);
    expect(pm.timer.read(0, 4)).toBe((3_579_545 * 1201) % 2 ** 32);
  });

  test('has 24 bits when told so', () => {
    const { clock, pm } = bench(24);
    clock.advance(10e9);
    expect(pm.timer.read(0, 4)).toBe(35_795_450 % 2 ** 24);
  });

  test('its carry sets TMR_STS and raises the SCI', () => {
    const { clock, pm, sci } = bench(24);
    pm.smiCommand.write(0, 1, ACPI_ENABLE);
    pm.event.write(2, 2, 1);
    clock.advance(2.3e9);
    expect(sci.level).toBe(false);
    clock.advance(0.1e9);
    expect(sci.level).toBe(true);
    pm.event.write(0, 2, 1);
    expect(sci.level).toBe(false);
    clock.advance(2.4e9);
    expect(sci.rises).toBe(2);
  });
});
