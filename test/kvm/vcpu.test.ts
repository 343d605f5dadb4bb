/** A vCPU on this host's KVM, as far as any KVM goes: also one without hardware virtualisation. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Guest, openKvm, type Kvm } from './guest.ts';

const MS = 1e6;
const SECOND = 1000 * MS;
let kvm: Kvm | undefined;

beforeAll(async () => {
  kvm = await openKvm();
});
afterAll(() => kvm?.accelerator.dispose());

/** A test that needs KVM. */
function withKvm(name: string, body: (guest: Guest) => void): void {
  test(name, (context) => {
    if (!kvm) return context.skip('no KVM here');
    const guest = new Guest(kvm);
    try {
      body(guest);
    } finally {
      guest.vcpu.dispose();
    }
  });
}

/** A device that answers with what it is asked, and remembers what it is told. */
function recorder() {
  const written: number[][] = [];
  return {
    written,
    read: (offset: number, width: number) => offset * 0x101 + width,
    write: (...access: number[]) => void written.push(access),
  };
}

describe('a vCPU on KVM', () => {
  withKvm('takes port accesses of a real-mode guest to the bus, and comes back when the guest halts', (guest) => {
    const device = recorder();
    guest.pio.map(0x10, 8, 'device', device);
    guest.startReal([
      ...[0xe4, 0x12], // in al, 0x12
      ...[0xe6, 0x13], // out 0x13, al
      ...[0xe5, 0x11], // in ax, 0x11
      ...[0xe7, 0x14], // out 0x14, ax
      ...[0x66, 0xe5, 0x10], // in eax, 0x10
      ...[0x66, 0xe7, 0x10], // out 0x10, eax
      0xf4,
    ]);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(device.written).toEqual([
      [3, 1, 0x03],
      [4, 2, 0x103],
      [0, 4, 4],
    ]);
    expect(guest.vcpu.registers().rip).toBe(0x100fn);
  });

  withKvm('reads all ones from a port where nothing is', (guest) => {
    guest.startReal([0x66, 0xe5, 0x77, 0xf4]); // in eax, 0x77
    guest.vcpu.run(SECOND);
    expect(guest.vcpu.registers().gpr[0]).toBe(0xffff_ffffn);
  });

  withKvm('moves each element of a string instruction', (guest) => {
    const device = recorder();
    guest.pio.map(0x10, 8, 'device', device);
    guest.place(0x3000, [1, 2, 3, 4]);
    // mov si, 0x3000; mov dx, 0x10; mov cx, 4; rep outsb; mov di, 0x3800; mov cx, 2; rep insw; hlt
    guest.startReal([...[0xbe, 0, 0x30, 0xba, 0x10, 0, 0xb9, 4, 0, 0xf3, 0x6e], ...[0xbf, 0, 0x38, 0xb9, 2, 0, 0xf3, 0x6d, 0xf4]]);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(device.written.map(([, , value]) => value)).toEqual([1, 2, 3, 4]);
    expect([...guest.memory.view(0x3800, 5)!]).toEqual([2, 0, 2, 0, 0]);
  });

  withKvm('takes accesses beyond RAM to the MMIO bus, eight bytes as two halves, low half first', (guest) => {
    const device = recorder();
    guest.mmio.map(0xd000_0000, 0x100, 'device', device);
    guest.startLong([
      ...[0xbf, 0, 0, 0, 0xd0], // mov edi, 0xd0000000
      ...[0x48, 0x8b, 0x47, 0x10], // mov rax, [rdi + 16]
      ...[0x48, 0x89, 0x47, 0x08], // mov [rdi + 8], rax
      ...[0x88, 0x47, 0x03], // mov [rdi + 3], al
      0xf4,
    ]);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(guest.vcpu.registers().gpr[0]).toBe(0x0000_1418_0000_1014n);
    expect(device.written).toEqual([
      [8, 4, 0x1014],
      [12, 4, 0x1418],
      [3, 1, 0x14],
    ]);
  });

  withKvm('runs and sees memory at the same time as everybody else: what one writes, the other reads', (guest) => {
    // in al, 0x10 after mov [0x3000], 0x5a; then mov al, [0x3001]; out 0x10, al; hlt
    const seen: number[] = [];
    guest.pio.map(0x10, 1, 'device', {
      read: () => {
        seen.push(guest.memory.view(0x3000, 1)![0]!);
        guest.place(0x3001, [0xa5]);
        return 0;
      },
      write: (_offset, _width, value) => void seen.push(value),
    });
    guest.startReal([0xc6, 0x06, 0, 0x30, 0x5a, 0xe4, 0x10, 0xa0, 1, 0x30, 0xe6, 0x10, 0xf4]);
    guest.vcpu.run(SECOND);
    expect(seen).toEqual([0x5a, 0xa5]);
  });

  withKvm('wakes from HLT by an interrupt, which runs its handler first', (guest) => {
    const device = recorder();
    guest.pio.map(0x10, 1, 'device', device);
    guest.place(0x20 * 4, [0x00, 0x11, 0, 0]); // the handler is at 0:1100
    guest.place(0x1100, [0xb0, 7, 0xe6, 0x10, 0xcf]); // mov al, 7; out 0x10, al; iret
    guest.startReal([0xfb, 0xf4, 0xb0, 8, 0xe6, 0x10, 0xf4]); // sti; hlt; mov al, 8; out 0x10, al; hlt
    guest.vcpu.run(SECOND);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(device.written).toEqual([]);
    guest.interrupt(0x20);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(device.written.map(([, , value]) => value)).toEqual([7, 8]);
  });

  withKvm('holds an interrupt back until the guest allows it, and delivers two one after the other', (guest) => {
    const order: number[] = [];
    guest.pio.map(0x10, 1, 'device', {
      read: () => {
        guest.interrupt(0x20);
        guest.interrupt(0x21);
        return 0;
      },
      write: (_offset, _width, value) => void order.push(value),
    });
    for (const [n, handler] of [0x1100, 0x1200].entries()) {
      guest.place((0x20 + n) * 4, [handler & 0xff, handler >> 8, 0, 0]);
      guest.place(handler, [0xb0, 10 + n, 0xe6, 0x10, 0xfe, 0x06, 0, 0x30, 0xcf]); // mov al, N; out 0x10, al; inc byte [0x3000]; iret
    }
    guest.startReal([
      ...[0xe4, 0x10, 0xb0, 1, 0xe6, 0x10, 0xfb], // in al, 0x10; mov al, 1; out 0x10, al; sti
      ...[0x80, 0x3e, 0, 0x30, 2, 0x75, 0xf9], // again: cmp byte [0x3000], 2; jne again
      ...[0xb0, 2, 0xe6, 0x10, 0xf4], // mov al, 2; out 0x10, al; hlt
    ]);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(order).toEqual([1, 10, 11, 2]);
  });

  withKvm('delivers an NMI although interrupts are off', (guest) => {
    guest.place(2 * 4, [0x00, 0x11, 0, 0]);
    guest.place(0x1100, [0xb0, 9, 0xf4]); // mov al, 9; hlt
    guest.startReal([0xf4, 0xf4]);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    guest.vcpu.nmi();
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
    expect(Number(guest.vcpu.registers().gpr[0]! & 0xffn)).toBe(9);
  });

  withKvm('comes back from a guest that loops for ever when its time is over', (guest) => {
    const { vcpu } = guest;
    guest.startReal([0xeb, 0xfe]);
    const before = vcpu.executed;
    expect(vcpu.run(5 * MS)).toEqual({ kind: 'budget' });
    expect(vcpu.executed - before).toBeGreaterThanOrEqual(5 * MS);
  });

  withKvm('stops at the access whose handler asks for it, and then finishes that access', (guest) => {
    guest.pio.map(0x10, 1, 'device', {
      read: () => {
        guest.vcpu.stop();
        return 0x42;
      },
      write() {},
    });
    guest.startReal([0xe4, 0x10, 0xeb, 0xfe]); // in al, 0x10; jmp .
    expect(guest.vcpu.run(10 * SECOND)).toEqual({ kind: 'budget' });
    const { gpr, rip } = guest.vcpu.registers();
    expect([gpr[0]! & 0xffn, rip]).toEqual([0x42n, 0x1002n]);
  });

  withKvm('says shutdown after a triple fault, and starts again from reset', (guest) => {
    const { segments } = guest.vcpu.registers();
    guest.startLong([0x0f, 0x0b]); // ud2, without an IDT
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'shutdown' });
    guest.vcpu.reset();
    const registers = guest.vcpu.registers();
    expect([registers.rip, registers.segments, registers.rflags]).toEqual([0xfff0n, segments, 2n]);
    guest.startReal([0xf4]);
    expect(guest.vcpu.run(SECOND)).toEqual({ kind: 'halt' });
  });

  withKvm('takes registers and gives them back', (guest) => {
    guest.startLong([0xf4]);
    const registers = guest.vcpu.registers();
    const gpr = registers.gpr.map((_, n) => 0x0123_4567_89ab_cd00n + BigInt(n));
    const { segments } = registers;
    segments.fs.base = 0xffff_8000_0000_1000n;
    const wanted = {
      ...registers,
      gpr,
      segments,
      gdtr: { base: 0x5000n, limit: 0x7f },
      idtr: { base: 0x6000n, limit: 0xfff },
      cr2: 0x1234n,
    };
    guest.vcpu.setRegisters(wanted);
    expect(guest.vcpu.registers()).toEqual(wanted);
  });
});
