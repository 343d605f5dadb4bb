/** Interrupts of KVM's controllers reach a guest by every way, also one that sleeps; and doorbells reach devices. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, type TestContext } from 'vitest';
import type { BusDevice } from '../../src/machine/bus.ts';
import type { Disposable } from '../../src/base/disposable.ts';
import { KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED } from '../../src/node/kvm/abi.ts';
import { Echo } from '../../src/devices/virtio/testing/echo.ts';
import { TestDriver } from '../../src/devices/virtio/testing/driver.ts';
import { NOTIFY_PAGE, NOTIFY_STRIDE, REGISTER_BAR_SIZE } from '../../src/devices/virtio/registers.ts';
import { EventFd, onDoorbell, raisesInterrupt } from '../../src/node/kvm/event-fd.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import { Assembler, Label } from '../engine/assembler.ts';
import { openKvm, type Kvm } from './guest.ts';
import { KernelGuest, threadProgram } from './kernel-guest.ts';

const LOCAL_APIC = 0xfee0_0000;
const CODE = 0x10_0000;
const IDT = 0x3_2000;
const COUNTS = 0x3_0000;
/** The guest writes here when `code` is done. */
const READY = 0x3_0800;
const FIRST_VECTOR = 0x20;
const VECTORS = 0x40;
const u32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

let kvm: Kvm | undefined;
let program: ThreadProgram;
let guest: KernelGuest | undefined;

beforeAll(async () => {
  kvm = await openKvm();
  program = await threadProgram();
});
afterAll(() => kvm?.accelerator.dispose());
beforeEach(() => () => {
  guest?.dispose();
  guest = undefined;
});

/** `mov dword [address], value` by way of EDI. */
const store = (address: number, value: number): number[] => [0xbf, ...u32(address), 0xc7, 0x07, ...u32(value)];
/** SVR: on, spurious vector 0xff. */
const ENABLE_APIC = store(LOCAL_APIC + 0xf0, 0x1ff);
/** Nobody has told the 8259As which vectors are theirs. */
const MASK_LINT0 = store(LOCAL_APIC + 0x350, 0x1_0000);
const SLEEP_FOR_EVER = [0xfb, 0xf4, 0xeb, 0xfc]; // sti; again: hlt; jmp again (to sti)

/**
 * A 64-bit guest with a handler for each vector from 0x20 on: it counts, and ends the interrupt at the local APIC. The guest executes
 * `code`, and then sleeps for ever.
 */
async function start(
  context: TestContext,
  code: readonly number[],
  prepare: (guest: KernelGuest) => void = () => {},
  processors = 1,
): Promise<KernelGuest> {
  if (!kvm) context.skip('no KVM here');
  guest = new KernelGuest(kvm!, program, processors);
  const a = new Assembler(CODE);
  const idtr = new Label();
  const common = new Label();
  const handlers = Array.from({ length: VECTORS }, () => new Label());
  a.absolute([0x48, 0xb8], idtr); // mov rax, idtr
  a.put(0x0f, 0x01, 0x18); // lidt [rax]
  a.put(...ENABLE_APIC, ...code, ...store(READY, 1), ...SLEEP_FOR_EVER);
  a.place(idtr);
  a.put(0xff, 0x0f, ...u32(IDT), 0, 0, 0, 0);
  handlers.forEach((label, n) => {
    a.place(label);
    a.put(0x50, 0xb8, ...u32(n)); // push rax; mov eax, n
    a.relative([0xe9], common);
  });
  a.place(common);
  a.put(0x57, 0xff, 0x04, 0x85, ...u32(COUNTS)); // push rdi; inc dword [rax * 4 + COUNTS]
  a.put(...store(LOCAL_APIC + 0xb0, 0), 0x5f, 0x58, 0x48, 0xcf); // EOI; pop rdi; pop rax; iretq
  guest.startLong(a.finish());
  const { cs } = guest.machine.processors.registers().segments;
  handlers.forEach((label, n) => {
    const gate = IDT + (FIRST_VECTOR + n) * 16;
    const at = label.at!;
    guest!.memory.write32(gate, (at & 0xffff) | (cs.selector << 16));
    guest!.memory.write32(gate + 4, 0x8e00 | (at & 0xffff_0000));
    guest!.memory.write64(gate + 8, 0);
  });
  prepare(guest);
  expect(await guest.until(() => guest!.memory.read32(READY) === 1)).toBeUndefined();
  return guest;
}

const count = (vector: number): number => guest!.memory.read32(COUNTS + (vector - FIRST_VECTOR) * 4);

describe('an interrupt wakes a guest that sleeps in KVM', () => {
  test('by a message', async (context) => {
    const { chips } = await start(context, []);
    for (let n = 1; n <= 20; n++) {
      chips.msi.send(0xfee0_0000, 0x31);
      await guest!.until(() => count(0x31) === n);
    }
  });

  test('by an input of the I/O APIC: an edge once, a level until it ends', async (context) => {
    const redirect = (pin: number, low: number): number[] => [...store(0xfec0_0000, 0x10 + 2 * pin), ...store(0xfec0_0010, low)];
    const { chips } = await start(context, [...MASK_LINT0, ...redirect(4, 0x34), ...redirect(20, 0x8035)]);
    chips.lines[4]!.set(true);
    await guest!.until(() => count(0x34) === 1);
    chips.lines[4]!.set(false);
    chips.lines[4]!.set(true);
    await guest!.until(() => count(0x34) === 2);
    chips.lines[20]!.set(true);
    await guest!.until(() => count(0x35) >= 5);
    chips.lines[20]!.set(false);
    expect(count(0x34)).toBe(2);
  });

  test('by an input of the 8259As, through LINT0', async (context) => {
    const out = (port: number, value: number): number[] => [0xb0, value, 0xe6, port];
    const { chips } = await start(context, [
      ...store(LOCAL_APIC + 0x350, 0x700),
      ...[out(0x20, 0x11), out(0x21, 0x40), out(0x21, 4), out(0x21, 3), out(0x21, 0)].flat(), // automatic EOI
      ...[out(0xa0, 0x11), out(0xa1, 0x48), out(0xa1, 2), out(0xa1, 3), out(0xa1, 0)].flat(),
    ]);
    await guest!.until(() => guest!.chips.pic.state.icw4 === 3 && guest!.chips.slavePic.state.icw4 === 3);
    for (const [irq, vector] of [
      [3, 0x43],
      [12, 0x4c],
    ] as const) {
      chips.lines[irq]!.set(true);
      await guest!.until(() => count(vector) === 1);
      chips.lines[irq]!.set(false);
    }
  });

  test('by the timer of its local APIC, without coming out of KVM', async (context) => {
    await start(context, [
      ...store(LOCAL_APIC + 0x320, 0x2_0036),
      ...store(LOCAL_APIC + 0x3e0, 0xb),
      ...store(LOCAL_APIC + 0x380, 2_000_000),
    ]);
    await guest!.until(() => count(0x36) >= 20);
    const { exits } = guest!.machine.processors.counts;
    expect((exits['HLT'] ?? 0) + (exits['port'] ?? 0) + (exits['MMIO'] ?? 0)).toBe(0);
  });

  test('by an eventfd', async (context) => {
    const { chips, machine } = await start(context, []);
    const event = new EventFd(kvm!.native);
    const bound = raisesInterrupt(machine.vm, event, chips.routing.route({ address: 0xfee0_0000, data: 0x32 }));
    for (let n = 1; n <= 20; n++) {
      event.signal();
      await guest!.until(() => count(0x32) === n);
    }
    bound.dispose();
    event.signal();
    chips.msi.send(0xfee0_0000, 0x33);
    await guest!.until(() => count(0x33) === 1);
    expect(count(0x32)).toBe(20);
    event.dispose();
  });
});

test('a doorbell signals its eventfd, and only with its value; the guest does not come out', async (context) => {
  const ring = (value: number): number[] => store(0xd000_0000, value);
  const seen: number[] = [];
  const rung = { total: 0 };
  let event!: EventFd;
  let watch!: Disposable;
  let bell!: Disposable;
  await start(context, [...ring(7), ...ring(8), ...ring(7)], ({ mmio, machine }) => {
    mmio.map(0xd000_0000, 0x1000, 'bell', { read: () => 0, write: (_offset, _width, value) => void seen.push(value) });
    event = new EventFd(kvm!.native);
    watch = kvm!.native.watch(event.fd, () => void (rung.total += event.take()));
    bell = onDoorbell(machine.vm, event, { address: 0xd000_0000, width: 4, value: 7 });
  });
  await guest!.until(() => rung.total === 2);
  expect(seen).toEqual([8]);
  expect(guest!.machine.processors.counts.exits['MMIO']).toBe(1);
  bell.dispose();
  watch.dispose();
  event.dispose();
});

test('doorbells of a device follow it on the bus, and a machine that stands still has heard all', async (context) => {
  const rings: number[] = [];
  const device: BusDevice = {
    read: () => 0,
    write: (offset) => void rings.push(offset),
    doorbells: { offset: 0x10, stride: 4, count: 2, width: 4 },
  };
  const ring = (base: number): number[] => [...store(base + 0x10, 1), ...store(base + 0x14, 1), ...store(base + 0x18, 1)];
  const moved: number[] = [];
  await start(context, [...ring(0xd000_0000), 0xe6, 0x10, ...ring(0xd000_0000), ...ring(0xd100_0000)], ({ mmio, pio }) => {
    const first = mmio.map(0xd000_0000, 0x100, 'device', device);
    const write = (): void => {
      guest!.machine.processors.pause();
      moved.push(...rings.splice(0));
      mmio.unmap(first);
      mmio.map(0xd100_0000, 0x100, 'device', device);
    };
    pio.map(0x10, 1, 'mover', { read: () => 0, write });
  });
  // The one that is no doorbell came at once; each of the others as one.
  expect(moved.toSorted()).toEqual([0x10, 0x14, 0x18]);
  guest!.machine.processors.pause();
  expect(rings.toSorted()).toEqual([0x10, 0x14, 0x18]);
  // What was written where the device no longer is came out, and went nowhere.
  expect(guest!.machine.processors.counts.exits['MMIO']).toBe(1 + 3 + 1);
});

test('a virtio device hears its queue by ioeventfd and answers by irqfd: the guest’s driver never comes out of KVM', async (context) => {
  const ROUNDS = 50;
  const VECTOR = 0x3a;
  const ANSWER = 0x50_0000;
  const device = new Echo();
  let driver!: TestDriver;
  const events: Disposable[] = [];
  const [avail, used, notify] = [0x10_4000 + 16 * 16, 0x10_4000 + 24 * 16, 0xd000_0000 + NOTIFY_PAGE + NOTIFY_STRIDE];
  const a = new Assembler(0);
  const [again, wait, answered] = [new Label(), new Label(), new Label()];
  a.put(0xb9, ...u32(ROUNDS)); // mov ecx, ROUNDS
  a.place(again);
  a.put(0x66, 0xff, 0x04, 0x25, ...u32(avail + 2)); // inc word [avail.idx]: descriptor 0 again
  a.put(0xbf, ...u32(notify), 0x66, 0xc7, 0x07, 1, 0); // mov word [notify], 1
  a.place(wait);
  a.put(0xfa, 0x0f, 0xb7, 0x04, 0x25, ...u32(used + 2), 0x66, 0x3b, 0x04, 0x25, ...u32(avail + 2)); // cli; used.idx == avail.idx?
  a.short(0x74, answered);
  a.put(0xfb, 0xf4); // sti; hlt
  a.short(0xeb, wait);
  a.place(answered);
  a.put(0xfb, 0xff, 0xc9); // sti; dec ecx
  a.short(0x75, again);
  await start(context, a.finish(), ({ memory, mmio, machine }) => {
    const code = memory.view(CODE, 0x1000)!.slice();
    driver = new TestDriver(device, true, memory).start({ msix: true, features: 0n });
    memory.view(CODE, 0x1000)!.set(code);
    const queue = driver.queues[1]!;
    expect([queue.avail, queue.used, driver.base + NOTIFY_PAGE + NOTIFY_STRIDE]).toEqual([avail, used, notify]);
    queue.describe(0, 0x50_1000, 4, 1, 1);
    queue.describe(1, ANSWER, 4, 2);
    memory.view(0x50_1000, 4)!.set([1, 2, 3, 4]);
    mmio.map(driver.base, REGISTER_BAR_SIZE, 'echo', driver.transport);
    const event = new EventFd(kvm!.native);
    const gsi = machine.chips.routing.route({ address: 0xfee0_0000, data: VECTOR });
    events.push(raisesInterrupt(machine.vm, event, gsi), event);
    driver.msi.send = () => event.signal();
  });
  expect(device.state.requests).toBe(ROUNDS);
  expect([...driver.bytes(ANSWER, 4)]).toEqual([1, 2, 3, 4]);
  expect(count(VECTOR)).toBeGreaterThan(0);
  expect(guest!.machine.processors.counts.exits['MMIO'] ?? 0).toBe(0);
  for (const event of events) event.dispose();
});

describe('several processors', () => {
  /** At 0x2000, in real mode: out 0x10, al; in al, 0x11; mov [0x3000], al; hlt; jmp to the hlt */
  const SECOND = [0xb0, 0x5a, 0xe6, 0x10, 0xe4, 0x11, 0xa2, 0x00, 0x30, 0xf4, 0xeb, 0xfd];
  const COMMAND = LOCAL_APIC + 0x300;
  /** INIT, then SIPI with vector 2, to APIC id 1. */
  const WAKE_SECOND = [...store(COMMAND + 0x10, 0x0100_0000), ...store(COMMAND, 0x4500), ...store(COMMAND, 0x4602)];

  test('the second one waits for INIT and SIPI, begins where they say, and reaches devices from its own thread', async (context) => {
    const written: number[] = [];
    await start(
      context,
      WAKE_SECOND,
      ({ pio, memory }) => {
        expect(guest!.machine.vcpus.map(({ mpState }) => mpState)).toEqual([KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED]);
        memory.view(0x2000, SECOND.length)!.set(SECOND);
        pio.map(0x10, 2, 'device', { read: () => 0xa5, write: (_offset, _width, value) => void written.push(value) });
      },
      2,
    );
    await guest!.until(() => guest!.memory.read16(0x3000) === 0xa5);
    expect(written).toEqual([0x5a]);
  });

  test('all of them stand still after pause, and a reset makes the second one wait again', async (context) => {
    // inc dword [0x3000]; jmp
    const endless = [0x66, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf9];
    await start(context, WAKE_SECOND, ({ memory }) => memory.view(0x2000, endless.length)!.set(endless), 2);
    const counted = (): number => guest!.memory.read32(0x3000);
    await guest!.until(() => counted() > 100);
    const { processors, vcpus } = guest!.machine;
    processors.pause();
    const before = counted();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(counted()).toBe(before);
    await guest!.until(() => counted() > before);
    processors.reset();
    expect(vcpus.map(({ mpState }) => mpState)).toEqual([KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED]);
  });
});
