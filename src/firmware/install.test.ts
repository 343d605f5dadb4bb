import { expect, test } from 'vitest';
import { Memory } from '../machine/memory.ts';
import { installFirmware } from './install.ts';
import { pcDescription } from './testing/pc-description.ts';

const identity = {
  manufacturer: 'Daybreak',
  product: 'PC',
  version: '1',
  uuid: new Uint8Array(16),
  generation: new Uint8Array(16).fill(9),
};

test('the tables lie where kernels look for them, and are reserved in the memory map', () => {
  const memory = new Memory(16 * 2 ** 20, 0);
  const { acpiRsdp, memoryMap } = installFirmware(memory, pcDescription, identity);
  const text = (gpa: number, length: number): string => String.fromCharCode(...memory.view(gpa, length)!);
  expect(text(acpiRsdp, 8)).toBe('RSD PTR ');
  expect([acpiRsdp >= 0xe0000, acpiRsdp % 16]).toEqual([true, 0]);
  expect(text(0xf0000, 5)).toBe('_SM3_');
  expect(memory.view(0xef000, 16)).toEqual(identity.generation);
  expect([memory.read16(0x40e), memory.read16(0x413)]).toEqual([0x9fc0, 639]);
  const entry = memoryMap.find(({ base, size }) => acpiRsdp >= base && acpiRsdp < base + size);
  expect(entry?.kind).toBe('reserved');
});

test('even the most processors leave room for the tables', () => {
  const memory = new Memory(16 * 2 ** 20, 0);
  expect(() => installFirmware(memory, { ...pcDescription, cpus: 255 }, identity)).not.toThrow();
});
