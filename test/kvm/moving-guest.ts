/**
 * A guest that is busy with everything that moves: user mode with integer, x87, SSE and AVX registers in use; timer interrupts of
 * the local APIC and, by the I/O APIC, of the 8254; a virtio device with MSI-X; HLT. What it computes depends on none of
 * that: it prints it, after a
 * dot now and then, and ends by debug exit: R15, and R15 with XMM, YMM and x87 registers added, each 16 letters.
 */
import { VirtioPci } from '../../src/devices/virtio/pci-transport.ts';
import { NOTIFY_PAGE } from '../../src/devices/virtio/registers.ts';
import { VirtioRng } from '../../src/devices/virtio/rng/virtio-rng.ts';
import { PAGE_TABLES } from '../../src/firmware/low-memory.ts';
import { makeBzImage } from '../../src/firmware/testing/kernels.ts';
import { Memory } from '../../src/machine/memory.ts';
import { Assembler, Label } from '../engine/assembler.ts';
import { le } from '../engine/bench.ts';

/** Rounds from one dot that it prints to the next. */
export const DOT_EVERY = 4;
/** What the guest ends by debug exit with. */
export const ENDED = 5;

const IMAGE = 0x20_0000;
const ENTRY = IMAGE + 0x200;
const GDT = IMAGE + 0x2000;
const GDTR = GDT + 0x100;
const IDTR = GDT + 0x110;
const MXCSR = GDT + 0x120;
const TSS = GDT + 0x200;
const IDT = GDT + 0x400;
const VECTORS = 0x50;
const QUEUE = 0x14_0000;
const [AVAIL, USED, BUFFER] = [QUEUE + 0x100, QUEUE + 0x200, QUEUE + 0x400];
/** How many interrupts of each kind have come: local APIC, 8254, virtio. */
const COUNTS = 0x15_0000;
const SCRATCH = 0x15_0100;
const KERNEL_STACK = 0x16_0000;
const USER_STACK = 0x17_0000;

const LOCAL_APIC = 0xfee0_0000;
const IO_APIC = 0xfec0_0000;
/** Where the board's first PCI device is: a virtio-rng. */
const ECAM_DEVICE = 0xe000_8000;
const REGISTERS = 0xc000_0000;
const MSIX_TABLE = 0xc000_8000;
const MSIX_CAPABILITY = 0x11;

/** User mode calls by HLT, which is a fault there: KVM does not tell of software exceptions that it has not delivered yet. */
const GENERAL_PROTECTION = 13;
const HLT = 0xf4;
const [TIMER, PIT, VIRTIO] = [0x40, 0x41, 0x42];
const APIC_PERIOD_NS = 700_000;
const PIT_PERIOD = 2000;
const KERNEL_CODE = 0x10;
const [USER_DATA, USER_CODE, TSS_SELECTOR] = [0x2b, 0x33, 0x40];

export interface MovingGuest {
  /** Each has a stretch of computing and a request to the device. */
  readonly rounds: number;
  readonly avx: boolean;
  /** Adds what the device gives to what is computed. */
  readonly random: boolean;
}

/** A bzImage with a 64-bit entry. */
export function movingGuest({ rounds, avx, random }: MovingGuest): Uint8Array {
  const a = new Assembler(ENTRY);
  const store = (address: number, value: number, width = 4): void => {
    a.put(0xbf, ...le(address, 4), ...(width === 2 ? [0x66] : []), width === 1 ? 0xc6 : 0xc7, 0x07, ...le(value, width));
  };
  const out = (port: number, value: number): void => a.put(0xb0, value, 0xe6, port);
  const labels = { user: new Label(), call: new Label(), timer: new Label(), pit: new Label(), virtio: new Label() };

  // Users may use all memory.
  const [next, skip] = [new Label(), new Label()];
  a.put(0xfa, 0xbf, ...le(PAGE_TABLES, 4), 0xb9, ...le(6 * 512, 4)); // cli; mov edi, PAGE_TABLES; mov ecx, entries
  a.place(next);
  a.put(0x8b, 0x07, 0x85, 0xc0); // mov eax, [rdi]; test eax, eax
  a.short(0x74, skip);
  a.put(0x83, 0xc8, 4, 0x89, 0x07); // or eax, 4; mov [rdi], eax
  a.place(skip);
  a.put(0x83, 0xc7, 8, 0xff, 0xc9); // add edi, 8; dec ecx
  a.short(0x75, next);
  a.put(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8); // mov rax, cr3; mov cr3, rax
  a.put(0x0f, 0x01, 0x14, 0x25, ...le(GDTR, 4), 0x0f, 0x01, 0x1c, 0x25, ...le(IDTR, 4)); // lgdt; lidt
  a.put(0xb8, ...le(TSS_SELECTOR, 4), 0x0f, 0x00, 0xd8); // ltr ax
  a.put(0x0f, 0x20, 0xe0, 0x0d, ...le(avx ? 0x4_0600 : 0x600, 4), 0x0f, 0x22, 0xe0); // CR4.OSFXSR, OSXMMEXCPT, OSXSAVE
  a.put(0x0f, 0x20, 0xc0, 0x83, 0xc8, 0x22, 0x0f, 0x22, 0xc0); // CR0.MP, NE
  if (avx) a.put(0x31, 0xc9, 0xb8, ...le(7, 4), 0x31, 0xd2, 0x0f, 0x01, 0xd1); // xsetbv: XCR0 = 7

  out(0x21, 0xff);
  out(0xa1, 0xff);
  out(0x43, 0x34);
  out(0x40, PIT_PERIOD & 0xff);
  out(0x40, PIT_PERIOD >> 8);
  store(IO_APIC, 0x15);
  store(IO_APIC + 0x10, 0);
  store(IO_APIC, 0x14);
  store(IO_APIC + 0x10, PIT);
  store(LOCAL_APIC + 0xf0, 0x1ff);
  store(LOCAL_APIC + 0x350, 0x1_0000);
  store(LOCAL_APIC + 0x320, 0x2_0000 | TIMER);
  store(LOCAL_APIC + 0x3e0, 0xb);
  store(LOCAL_APIC + 0x380, APIC_PERIOD_NS);
  for (const [at, value, width] of virtioSetUp()) store(at, value, width);

  a.put(0x6a, USER_DATA, 0x68, ...le(USER_STACK, 4), 0x68, ...le(0x202, 4), 0x6a, USER_CODE);
  a.absolute([0xb8], labels.user, 4); // mov eax, user
  a.put(0x50, 0x48, 0xcf); // push rax; iretq

  // What user mode calls. EAX of 0: ask the device for random bytes, and add them to R15; 1: print R15; 2: the same, and end.
  const [print, quiet, wait, done, letter, end] = Array.from({ length: 6 }, () => new Label()) as [
    Label,
    Label,
    Label,
    Label,
    Label,
    Label,
  ];
  a.place(labels.call);
  a.put(0x48, 0x83, 0xc4, 8, 0x48, 0xff, 0x04, 0x24); // add rsp, 8, over the error code; inc qword [rsp], over the HLT
  a.put(0x85, 0xc0); // test eax, eax
  a.relative([0x0f, 0x85], print); // jnz
  a.put(0x50, 0x57, 0x52, 0xf6, 0xc3, DOT_EVERY - 1); // push rax; push rdi; push rdx; test bl, DOT_EVERY - 1
  a.short(0x75, quiet);
  a.put(0x66, 0xba, 0xf8, 0x03, 0xb0, 0x2e, 0xee); // mov dx, 0x3f8; mov al, '.'; out
  a.place(quiet);
  a.put(0x66, 0xff, 0x04, 0x25, ...le(AVAIL + 2, 4)); // inc word [avail.idx]
  store(REGISTERS + NOTIFY_PAGE, 0, 2);
  a.place(wait);
  a.put(0xfa, 0x0f, 0xb7, 0x04, 0x25, ...le(USED + 2, 4), 0x66, 0x3b, 0x04, 0x25, ...le(AVAIL + 2, 4)); // cli; used.idx == avail.idx?
  a.short(0x74, done);
  a.put(0xfb, 0xf4); // sti; hlt
  a.short(0xeb, wait);
  a.place(done);
  a.put(0x8b, 0x04, 0x25, ...le(BUFFER, 4)); // mov eax, [buffer]
  if (random) a.put(0x49, 0x01, 0xc7); // add r15, rax
  a.put(0xc7, 0x04, 0x25, ...le(BUFFER, 4), ...le(0, 4)); // mov dword [buffer], 0
  a.put(0x5a, 0x5f, 0x58, 0x48, 0xcf); // pop rdx; pop rdi; pop rax; iretq
  a.place(print);
  a.put(0x89, 0xc6, 0xb9, ...le(16, 4), 0x66, 0xba, 0xf8, 0x03); // mov esi, eax; mov ecx, 16; mov dx, 0x3f8
  a.place(letter);
  a.put(0x49, 0xc1, 0xc7, 4, 0x44, 0x88, 0xf8, 0x24, 15, 0x04, 0x41, 0xee); // rol r15, 4; mov al, r15b; and al, 15; add al, 'A'; out
  a.put(0xff, 0xc9); // dec ecx
  a.short(0x75, letter);
  a.put(0x83, 0xfe, 2); // cmp esi, 2
  a.short(0x74, end);
  a.put(0x48, 0xcf); // iretq
  a.place(end);
  out(0xf4, ENDED);
  a.put(0xf4, 0xeb, 0xfd); // hlt; jmp

  [labels.timer, labels.pit, labels.virtio].forEach((label, n) => {
    a.place(label);
    a.put(0x57, 0x48, 0xff, 0x04, 0x25, ...le(COUNTS + 8 * n, 4)); // push rdi; inc qword [count]
    store(LOCAL_APIC + 0xb0, 0);
    a.put(0x5f, 0x48, 0xcf); // pop rdi; iretq
  });

  userCode(a, labels.user, rounds, avx);
  const code = new Uint8Array(GDT + 0x1000 - IMAGE);
  code.set(a.finish(), ENTRY - IMAGE);
  setTables(new DataView(code.buffer), labels);
  return makeBzImage({ code });
}

function userCode(a: Assembler, user: Label, rounds: number, avx: boolean): void {
  const [outer, inner] = [new Label(), new Label()];
  a.place(user);
  a.put(0xdb, 0xe3, 0x0f, 0xae, 0x14, 0x25, ...le(MXCSR, 4)); // fninit; ldmxcsr
  a.put(0xd9, 0xe8, 0xd9, 0xe8, 0xbb, ...le(rounds, 4)); // fld1; fld1; mov ebx, rounds
  a.put(0x49, 0xc7, 0xc7, ...le(1, 4)); // mov r15, 1
  a.place(outer);
  a.put(0xb9, ...le(2000, 4)); // mov ecx, 2000
  a.place(inner);
  a.put(0x4d, 0x69, 0xff, ...le(1_664_525, 4), 0x49, 0x81, 0xc7, ...le(1_013_904_223, 4), 0x49, 0xc1, 0xc7, 7); // imul; add; rol r15
  a.put(0x66, 0x49, 0x0f, 0x6e, 0xd7); // movq xmm2, r15
  if (avx) {
    a.put(0xc4, 0xe2, 0x7d, 0x59, 0xd2); // vpbroadcastq ymm2, xmm2
    a.put(0xc5, 0xfd, 0xd4, 0xc2, 0xc5, 0xf5, 0xef, 0xc8); // vpaddq ymm0, ymm0, ymm2; vpxor ymm1, ymm1, ymm0
  } else a.put(0x66, 0x0f, 0xd4, 0xc2, 0x66, 0x0f, 0xef, 0xc8); // paddq xmm0, xmm2; pxor xmm1, xmm0
  a.put(0xf2, 0x0f, 0x2a, 0xd9, 0xf2, 0x0f, 0x58, 0xe3); // cvtsi2sd xmm3, ecx; addsd xmm4, xmm3
  a.put(0xd8, 0xc1, 0xff, 0xc9); // fadd st0, st1; dec ecx
  a.short(0x75, inner);
  a.put(0x31, 0xc0, HLT, 0xff, 0xcb); // xor eax, eax; hlt; dec ebx
  a.short(0x75, outer);
  const print = (how: number): void => a.put(0xb8, ...le(how, 4), HLT); // mov eax, how; hlt
  print(1);
  for (const xmm of [0, 1, 4]) a.put(0x66, 0x48, 0x0f, 0x7e, 0xc0 | (xmm << 3), 0x49, 0x01, 0xc7); // movq rax, xmm; add r15, rax
  print(1);
  if (avx) a.put(0xc4, 0xe3, 0x7d, 0x39, 0xcd, 1, 0x66, 0x48, 0x0f, 0x7e, 0xe8, 0x49, 0x31, 0xc7); // vextracti128 xmm5, ymm1, 1; xor r15
  print(1);
  for (const at of [SCRATCH, SCRATCH + 8]) a.put(0xdf, 0x3c, 0x25, ...le(at, 4), 0x4c, 0x03, 0x3c, 0x25, ...le(at, 4)); // fistp; add r15
  print(2);
}

type Store = readonly [address: number, value: number, width: number];

function virtioSetUp(): Store[] {
  const sink = { memory: new Memory(1 << 20, 0), msi: { send() {} } };
  const { pci } = new VirtioPci(new VirtioRng({ fill() {} }), sink);
  let capability = pci.configRead(0x34, 1);
  while (pci.configRead(capability, 1) !== MSIX_CAPABILITY) capability = pci.configRead(capability + 1, 1);
  const status = (value: number): Store => [REGISTERS + 0x14, value, 1];
  const address = (at: number, value: number): Store[] => [
    [REGISTERS + at, value, 4],
    [REGISTERS + at + 4, 0, 4],
  ];
  return [
    [ECAM_DEVICE + capability + 2, 0x8000, 2],
    [MSIX_TABLE, LOCAL_APIC, 4],
    [MSIX_TABLE + 4, 0, 4],
    [MSIX_TABLE + 8, VIRTIO, 4],
    [MSIX_TABLE + 12, 0, 4],
    [QUEUE, BUFFER, 4],
    [QUEUE + 8, 4, 4],
    [QUEUE + 12, 2, 4], // for the device to write
    status(1),
    status(3),
    [REGISTERS + 8, 1, 4], // VERSION_1
    [REGISTERS + 12, 1, 4],
    status(11),
    [REGISTERS + 0x16, 0, 2],
    [REGISTERS + 0x1a, 0, 2],
    ...address(0x20, QUEUE),
    ...address(0x28, AVAIL),
    ...address(0x30, USED),
    [REGISTERS + 0x1c, 1, 2],
    status(15),
  ];
}

function setTables(view: DataView, { call, timer, pit, virtio }: Readonly<Record<'call' | 'timer' | 'pit' | 'virtio', Label>>): void {
  const u64 = (address: number, value: bigint): void => view.setBigUint64(address - IMAGE, value, true);
  u64(GDT + KERNEL_CODE, 0x00af_9b00_0000_ffffn);
  u64(GDT + 0x18, 0x00cf_9300_0000_ffffn);
  u64(GDT + (USER_DATA & ~7), 0x00cf_f300_0000_ffffn);
  u64(GDT + (USER_CODE & ~7), 0x00af_fb00_0000_ffffn);
  u64(GDT + TSS_SELECTOR, 0x0000_8900_0000_0067n | (BigInt(TSS & 0xff_ffff) << 16n));
  const pointer = (at: number, base: number, limit: number): void => {
    view.setUint16(at - IMAGE, limit, true);
    view.setUint32(at - IMAGE + 2, base, true);
  };
  pointer(GDTR, GDT, 0x4f);
  pointer(IDTR, IDT, VECTORS * 16 - 1);
  view.setUint32(MXCSR - IMAGE, 0x1f80, true);
  u64(TSS + 4, BigInt(KERNEL_STACK));
  for (const [vector, label] of [[GENERAL_PROTECTION, call], [TIMER, timer], [PIT, pit], [VIRTIO, virtio]] as const) {
    const gate = IDT + vector * 16 - IMAGE;
    view.setUint32(gate, (label.at! & 0xffff) | (KERNEL_CODE << 16), true);
    view.setUint32(gate + 4, 0xee00 | (label.at! & 0xffff_0000), true);
  } // prettier-ignore
}
