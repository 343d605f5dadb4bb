import { expect, test } from 'vitest';
import { buildSmbios } from './smbios.ts';

const identity = {
  manufacturer: 'Daybreak',
  product: 'Daybreak PC',
  version: '0.1',
  uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
  generation: new Uint8Array(16),
};
const MIB = 2 ** 20;

/** Walks the structures as a kernel does: formatted part, then strings up to a double zero. */
function structures(bytes: Uint8Array): Map<number, { data: DataView; strings: string[] }> {
  const found = new Map<number, { data: DataView; strings: string[] }>();
  const view = new DataView(bytes.buffer);
  let at = Number(view.getBigUint64(16, true)) - 0xf0000;
  const end = at + view.getUint32(12, true);
  while (at < end) {
    const type = bytes[at]!;
    const length = bytes[at + 1]!;
    let next = at + length;
    while (bytes[next] !== 0 || bytes[next + 1] !== 0) next++;
    const strings = new TextDecoder().decode(bytes.subarray(at + length, next)).split('\0');
    found.set(type, { data: new DataView(bytes.buffer, at, length), strings });
    at = next + 2;
  }
  expect(at, 'the structures fill their announced length exactly').toBe(end);
  return found;
}

test('the entry point is valid and leads to every structure', () => {
  const bytes = buildSmbios(identity, [{ base: 0, size: 512 * MIB }], 0xf0000);
  expect(new TextDecoder().decode(bytes.subarray(0, 5))).toBe('_SM3_');
  expect(bytes.subarray(0, 24).reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
  expect([...structures(bytes).keys()]).toEqual([0, 1, 3, 16, 17, 19, 127]);
});

test('the machine has its maker’s name, its own name and its UUID', () => {
  const system = structures(buildSmbios(identity, [{ base: 0, size: 512 * MIB }], 0xf0000)).get(1)!;
  expect(system.data.byteLength).toBe(0x1b);
  const name = (field: number): string => system.strings[system.data.getUint8(field) - 1]!;
  expect([name(4), name(5), name(6)]).toEqual(['Daybreak', 'Daybreak PC', '0.1']);
  expect(new Uint8Array(system.data.buffer, system.data.byteOffset + 8, 16)).toEqual(identity.uuid);
});

test('memory is told in the field that can hold it', () => {
  const small = structures(buildSmbios(identity, [{ base: 0, size: 512 * MIB }], 0xf0000)).get(17)!.data;
  expect([small.getUint16(12, true), small.getUint32(28, true)]).toEqual([512, 0]);
  const large = structures(buildSmbios(identity, [{ base: 0, size: 40_000 * MIB }], 0xf0000)).get(17)!.data;
  expect([large.getUint16(12, true), large.getUint32(28, true)]).toEqual([0x7fff, 40_000]);
});
