import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { pcDescription } from '../testing/pc-description.ts';
import { buildAcpi } from './acpi.ts';
import type { BoardDescription } from './description.ts';

const BASE = 0xe0000;

const signature = (table: DataView): string => String.fromCharCode(...new Uint8Array(table.buffer, table.byteOffset, 4));

/** The tables as a kernel finds them: from the root pointer on. */
function tables(board: BoardDescription): Map<string, DataView> {
  const { bytes, rsdp } = buildAcpi(board, BASE);
  const view = new DataView(bytes.buffer);
  const at = (address: number): DataView => {
    const start = address - BASE;
    return new DataView(bytes.buffer, start, view.getUint32(start + 4, true));
  };
  const xsdt = at(Number(view.getBigUint64(rsdp - BASE + 24, true)));
  const rsdt = at(view.getUint32(rsdp - BASE + 16, true));
  const found = new Map([xsdt, rsdt].map((table) => [signature(table), table]));
  for (let entry = 36; entry < xsdt.byteLength; entry += 8) {
    const table = at(Number(xsdt.getBigUint64(entry, true)));
    found.set(signature(table), table);
  }
  const fadt = found.get('FACP')!;
  found.set('FACS', at(fadt.getUint32(36, true)));
  found.set('DSDT', at(Number(fadt.getBigUint64(140, true))));
  return found;
}

const sum = (table: DataView): number =>
  new Uint8Array(table.buffer, table.byteOffset, table.byteLength).reduce((total, byte) => (total + byte) & 0xff, 0);

test('every table is reachable from the root pointer and sums to zero', () => {
  const found = tables(pcDescription);
  expect([...found.keys()]).toEqual(['XSDT', 'RSDT', 'FACP', 'APIC', 'HPET', 'MCFG', 'FACS', 'DSDT']);
  for (const [name, table] of found) if (name !== 'FACS') expect(sum(table), name).toBe(0);
  const { bytes } = buildAcpi(pcDescription, BASE);
  expect(sum(new DataView(bytes.buffer, 0, 20))).toBe(0);
  expect(sum(new DataView(bytes.buffer, 0, 36))).toBe(0);
  expect(found.get('FACS')!.byteOffset % 64).toBe(0);
});

test('the FADT names the board’s ports, in the old and in the extended fields', () => {
  const fadt = tables(pcDescription).get('FACP')!;
  expect(fadt.byteLength).toBe(276);
  expect([fadt.getUint16(46, true), fadt.getUint32(48, true), fadt.getUint8(52), fadt.getUint8(53)]).toEqual([9, 0xb2, 0xf1, 0xf0]);
  expect([56, 64, 76, 80].map((at) => fadt.getUint32(at, true))).toEqual([0x600, 0x604, 0x608, 0x620]);
  expect([148, 172, 208, 220].map((at) => Number(fadt.getBigUint64(at + 4, true)))).toEqual([0x600, 0x604, 0x608, 0x620]);
  expect([Number(fadt.getBigUint64(120, true)), fadt.getUint8(128)]).toEqual([0xcf9, 0x0e]);
  expect(fadt.getUint32(112, true) & (1 << 20), 'not hardware-reduced').toBe(0);
});

test('the MADT lists each processor, the I/O APIC, both overrides and LINT1', () => {
  const madt = tables({ ...pcDescription, cpus: 4 }).get('APIC')!;
  const entries: number[][] = [];
  for (let at = 44; at < madt.byteLength; at += madt.getUint8(at + 1)) {
    entries.push([...new Uint8Array(madt.buffer, madt.byteOffset + at, madt.getUint8(at + 1))]);
  }
  expect(madt.getUint32(36, true)).toBe(0xfee0_0000);
  expect(entries.filter(([type]) => type === 0).map((entry) => entry[3])).toEqual([0, 1, 2, 3]);
  expect(entries.slice(4)).toEqual([
    [1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
    [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
    [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
    [4, 6, 0xff, 0, 0, 1],
  ]);
});

test('a board without HPET and PCI gets no tables for them', () => {
  const { hpet: _hpet, pci: _pci, ps2: _ps2, rtc: _rtc, ...bare } = pcDescription;
  expect([...tables({ ...bare, vga: false }).keys()]).toEqual(['XSDT', 'RSDT', 'FACP', 'APIC', 'FACS', 'DSDT']);
});

const hasIasl = (() => {
  try {
    execFileSync('iasl', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('skipped: no iasl (package acpica-tools) to judge the ACPI tables');
    return false;
  }
})();

/** Disassembles all tables, and compiles the DSDT again; answers its text and what the compiler said. */
function judge(board: BoardDescription): { dsdt: string; verdict: string; said: string } {
  const folder = mkdtempSync(join(tmpdir(), 'daybreak-acpi-'));
  try {
    let said = '';
    for (const [name, table] of tables(board)) {
      writeFileSync(join(folder, `${name}.dat`), new Uint8Array(table.buffer, table.byteOffset, table.byteLength));
      said += execFileSync('iasl', ['-d', `${name}.dat`], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    }
    const verdict = execFileSync('iasl', ['DSDT.dsl'], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    return { dsdt: readFileSync(join(folder, 'DSDT.dsl'), 'utf8'), verdict, said };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(!hasIasl)('according to iasl', () => {
  test('the tables disassemble and compile again without a remark', () => {
    const { verdict, said } = judge(pcDescription);
    expect(said).not.toMatch(/error|warning|invalid/i);
    expect(verdict).toMatch(/0 Errors, 0 Warnings, 0 Remarks/);
  });

  test('the DSDT says what the board has, and only that', () => {
    const { dsdt } = judge(pcDescription);
    for (const id of ['PNP0A08', 'PNP0303', 'PNP0F13', 'PNP0501', 'PNP0B00', 'PNP0103', 'PNP0C02'])
      expect(dsdt).toContain(`EisaId ("${id}")`);
    expect(dsdt).toMatch(/Name \(_S5, Package \(0x04\).*\n\s*\{\s*0x05/);
    const { hpet: _hpet, pci: _pci, ps2: _ps2, rtc: _rtc, ...bare } = pcDescription;
    expect(judge({ ...bare, serial: [] }).dsdt.match(/EisaId/g)).toHaveLength(1);
  });

  test('a change of the machine’s generation is told by an event, and the identifier can be found', () => {
    const { dsdt } = judge(pcDescription);
    expect(dsdt).toMatch(/Scope \(\\_GPE\)\s*\{\s*Method \(_E1B, 0, NotSerialized\)[^{]*\{\s*Notify \(\\_SB.VGEN, 0x80\)/);
    expect(dsdt).toMatch(/Name \(ADDR, Package \(0x02\)[^{]*\{\s*0x000EF000,\s*Zero/);
  });

  test('interrupt pins are routed to the GSIs in APIC mode and to the IRQs in PIC mode', () => {
    const { dsdt } = judge(pcDescription);
    const routes = (name: string): number[] =>
      [...dsdt.slice(dsdt.indexOf(`Name (${name}`)).matchAll(/Package \(0x04\)\s*\{\s*(0x\w+),\s*(\w+),\s*Zero,\s*(0x\w+)/g)]
        .slice(0, 8)
        .map((match) => Number(match[3]));
    expect(routes('PRTA')).toEqual([16, 17, 18, 19, 17, 18, 19, 16]);
    expect(routes('PRTP')).toEqual([10, 11, 10, 11, 11, 10, 11, 10]);
  });
});
