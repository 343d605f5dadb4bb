/** A guest that makes accesses which a table in its memory lists, one after the other: a finger on the buses. */
import { Assembler, Label } from '../engine/assembler.ts';
import type { KernelGuest } from './kernel-guest.ts';

const CODE = 0x10_0000;
const TABLE = 0x11_0000;
const ENTRY = 16;
const STEP_PORT = 0x10;

export type Access =
  | { readonly kind: 'store' | 'load'; readonly address: number; readonly value?: number }
  | { readonly kind: 'out' | 'in'; readonly address: number; readonly value?: number }
  /** Done by the host, between two of the guest's. */
  | { readonly kind: 'host'; readonly act: () => void };

const KINDS = { store: 0, load: 1, out: 2, in: 3 } as const;

function program(): readonly number[] {
  const a = new Assembler(CODE);
  const [next, store, load, out] = [new Label(), new Label(), new Label(), new Label()];
  a.put(0xbe, ...[TABLE & 0xff, (TABLE >> 8) & 0xff, TABLE >> 16, 0]); // mov esi, TABLE
  a.place(next);
  a.put(0x48, 0x8b, 0x3e); // mov rdi, [rsi]
  a.put(0x8b, 0x46, 0x08); // mov eax, [rsi + 8]
  a.put(0x8b, 0x4e, 0x0c); // mov ecx, [rsi + 12]
  a.put(0x48, 0x83, 0xc6, ENTRY); // add rsi, ENTRY
  a.put(0x89, 0xfa, 0x85, 0xc9); // mov edx, edi; test ecx, ecx
  a.short(0x74, store);
  a.put(0xff, 0xc9); // dec ecx
  a.short(0x74, load);
  a.put(0xff, 0xc9);
  a.short(0x74, out);
  a.put(0xec, 0x89, 0x46, 0xf8); // in al, dx; mov [rsi - 8], eax
  a.short(0xeb, next);
  a.place(store);
  a.put(0x89, 0x07); // mov [rdi], eax
  a.short(0xeb, next);
  a.place(load);
  a.put(0x8b, 0x07, 0x89, 0x46, 0xf8); // mov eax, [rdi]; mov [rsi - 8], eax
  a.short(0xeb, next);
  a.place(out);
  a.put(0xee); // out dx, al
  a.short(0xeb, next);
  return a.finish();
}

/** Runs them all and answers what each `load` and `in` gave, in their order. */
export async function access(guest: KernelGuest, accesses: readonly Access[]): Promise<number[]> {
  const state = { done: false };
  const acts = accesses.flatMap((one) => (one.kind === 'host' ? [one.act] : []));
  const port = guest.pio.map(STEP_PORT, 2, 'step', {
    read: () => 0,
    write: (offset) => {
      if (offset === 0) acts.shift()!();
      else {
        state.done = true;
        guest.machine.processors.stop();
      }
    },
  });
  const all = [...accesses, { kind: 'out', address: STEP_PORT + 1, value: 0 } as const];
  all.forEach((one, n) => {
    const at = TABLE + n * ENTRY;
    const step = one.kind === 'host' ? ({ kind: 'out', address: STEP_PORT, value: 0 } as const) : one;
    guest.memory.write64(at, step.address);
    guest.memory.write32(at + 8, step.value ?? 0);
    guest.memory.write32(at + 12, KINDS[step.kind]);
  });
  guest.startLong(program());
  await guest.until(() => state.done);
  guest.machine.processors.pause();
  guest.pio.unmap(port);
  return all.flatMap(({ kind }, n) => {
    if (kind === 'load') return [guest.memory.read32(TABLE + n * ENTRY + 8)];
    return kind === 'in' ? [guest.memory.read32(TABLE + n * ENTRY + 8) & 0xff] : [];
  });
}
