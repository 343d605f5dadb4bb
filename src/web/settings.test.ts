import { describe, expect, test } from 'vitest';
import { machineOf, settingsOf } from './settings.ts';

const settings = (query: string) => settingsOf(new URLSearchParams(query));

describe('the address', () => {
  test('names files, values and flags', () => {
    expect(settings('kernel=files/vmlinuz&initrd=a&initrd=b&append=console%3DttyS0+quiet&memory=1G&no-reboot')).toEqual({
      kernel: 'files/vmlinuz',
      initrds: ['a', 'b'],
      texts: { append: 'console=ttyS0 quiet', memory: '1G' },
      flags: new Set(['no-reboot']),
    });
  });

  test('may say nothing', () => {
    expect(settings('')).toEqual({ kernel: '', initrds: [], texts: {}, flags: new Set() });
  });

  test('may switch a flag off', () => {
    expect(settings('debug-exit=0&no-reboot=1').flags).toEqual(new Set(['no-reboot']));
  });

  test('with a parameter that there is not is refused by its name', () => {
    expect(() => settings('kernal=x')).toThrow(/kernal=.*known: kernel, initrd/);
  });
});

describe('the machine', () => {
  test('has the defaults of daybreak boot', () => {
    expect(machineOf({}, new Set())).toEqual({
      commandLine: '',
      memoryBytes: 512 * 2 ** 20,
      console: 'serial',
      noReboot: false,
      debugExit: false,
    });
  });

  test('is as the form says; what is empty counts as default', () => {
    const texts = { append: 'quiet', memory: '64', accel: 'interpreter', cpu: '', console: 'virtio' };
    expect(machineOf(texts, new Set(['debug-exit']))).toEqual({
      commandLine: 'quiet',
      memoryBytes: 64 * 2 ** 20,
      accelerator: 'interpreter',
      console: 'virtio',
      noReboot: false,
      debugExit: true,
    });
  });

  test.each([
    [{ memory: 'much' }, /memory much: expected a size/],
    [{ console: 'vga' }, /console vga: expected serial or virtio/],
  ])('that cannot be is refused: %j', (texts, message) => {
    expect(() => machineOf(texts, new Set())).toThrow(message);
  });
});
