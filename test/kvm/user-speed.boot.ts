/** User-mode code of a 64-bit guest runs as fast as a program of the host: also where KVM emulates the guest's kernel. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { Guest, openKvm } from './guest.ts';

const LOOPS = 3_000_000;
/** They take turns, and the best counts: other work on this computer only adds. */
const TURNS = 12;
const RATIO_MAX = 1.1;
const SECOND = 1e9;
const TIMEOUT_MS = 600_000;

const directory = mkdtempSync(join(tmpdir(), 'daybreak-'));
afterAll(() => rmSync(directory, { recursive: true }));

const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];

test('user-mode code takes at most 1.1 times as long in the guest as on the host', { timeout: TIMEOUT_MS }, async (context) => {
  const kvm = await openKvm();
  if (!kvm) return context.skip('no KVM here');
  const program = join(directory, 'user-loop');
  try {
    execFileSync('gcc', ['-O2', '-o', program, fileURLToPath(new URL('user-loop.c', import.meta.url))]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return context.skip('no gcc here to compare with');
  }
  const guest = new Guest(kvm);
  const ended = { at: 0n };
  guest.pio.map(0x10, 1, 'end', {
    read: () => 0,
    write: () => {
      ended.at = process.hrtime.bigint();
      guest.vcpu.stop();
    },
  });
  const code = [
    ...[0xb8, ...u32(1)], // mov $1, %eax
    ...[0xb9, ...u32(LOOPS)], // mov $LOOPS, %ecx
    ...[0x48, 0x69, 0xc0, ...u32(1664525)], // again: imul $1664525, %rax, %rax
    ...[0x48, 0x05, ...u32(1013904223)], // add $1013904223, %rax
    ...[0x48, 0xc1, 0xc0, 7], // rol $7, %rax
    ...[0x48, 0xff, 0xc9, 0x75, 0xe8], // dec %rcx; jnz again
    ...[0xe6, 0x10, 0xeb, 0xfe], // out %al, $0x10; jmp .
  ];
  let best = Infinity;
  let native = Infinity;
  for (let turn = 0; turn < TURNS; turn++) {
    guest.startUser(code);
    ended.at = 0n;
    const before = process.hrtime.bigint();
    while (ended.at === 0n) guest.vcpu.run(10 * SECOND);
    best = Math.min(best, Number(ended.at - before));
    native = Math.min(native, Number(execFileSync(program, [String(LOOPS)], { encoding: 'utf8' })));
  }
  guest.vcpu.dispose();
  kvm.accelerator.dispose();
  console.log(
    `user mode: ${(best / 1e6).toFixed(2)} ms in the guest, ${(native / 1e6).toFixed(2)} ms on the host: ${(best / native).toFixed(3)}`,
  );
  expect(best / native).toBeLessThan(RATIO_MAX);
});
