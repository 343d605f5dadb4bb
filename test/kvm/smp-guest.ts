/**
 * A guest of four processors that stand at different places of their lives. The first two compute, and call each other by interrupts
 * in turns, with a timer of each going meanwhile; the third is never touched, and waits for INIT; the fourth has had INIT, and waits for
 * the SIPI that it gets at the end. What is computed depends on the turns only. It is printed after a dot now and then: eight letters of each of
 * the two, and an `S` by the fourth.
 */
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';
import { Assembler, Label } from '../engine/assembler.ts';
import { le } from '../engine/bench.ts';

export const SMP_PROCESSORS = 4;
/** Turns from one dot that it prints to the next. */
export const SMP_DOT_EVERY = 4;
/** What the guest ends by debug exit with. */
export const SMP_ENDED = 6;

const ENTRY = 0x10_0020;
const [SECOND_START, FOURTH_START] = [0x8000, 0x9000];
const [CALLS, ANSWERS, TICKS, SUM, FOURTH_DONE] = [0x18_0000, 0x18_0004, 0x18_0008, 0x18_0010, 0x7000];
const [STACK, SECOND_STACK] = [0x19_0000, 0x1a_0000];
const [CALL, ANSWER, TIMER] = [0x50, 0x51, 0x52];
const [CODE, DATA] = [8, 0x10];
const PERIOD_NS = 900_000;
const GDT_LIMIT = 23;
const STEPS = 60;

const LOCAL_APIC = 0xfee0_0000;
const [EOI, SVR, COMMAND, DESTINATION, LVT_TIMER, LVT_LINT0, INITIAL_COUNT, DIVIDE] = [
  0xb0, 0xf0, 0x300, 0x310, 0x320, 0x350, 0x380, 0x3e0,
].map((at) => LOCAL_APIC + at) as [number, number, number, number, number, number, number, number]; // prettier-ignore
const INIT = 0x4500;
const STARTUP = 0x4600;

/** mov dword [address], value */
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...le(address, 4), ...le(value, 4)];
const send = (to: number, command: number): number[] => [...store(DESTINATION, to << 24), ...store(COMMAND, command)];

export function smpGuest(turns: number): Uint8Array {
  const a = new Assembler(ENTRY);
  const label = (): Label => new Label();
  const [gdt, gdtr, idtr, idt, second, sleep] = [label(), label(), label(), label(), label(), label()];
  const handlers = [
    [CALL, label()],
    [ANSWER, label()],
    [TIMER, label()],
  ] as const;

  const interrupts = (): void => {
    a.absolute([0x0f, 0x01, 0x1d], idtr, 4); // lidt [idtr]
    a.put(...store(SVR, 0x1ff), ...store(LVT_LINT0, 0x1_0000), ...store(DIVIDE, 0xb));
    a.put(...store(LVT_TIMER, 0x2_0000 | TIMER), ...store(INITIAL_COUNT, PERIOD_NS));
  };
  /** EBX goes on from what it was. */
  const compute = (): void => {
    const next = label();
    a.put(0xb9, ...le(STEPS, 4)); // mov ecx, STEPS
    a.place(next);
    a.put(0x69, 0xdb, ...le(1_664_525, 4), 0x81, 0xc3, ...le(1_013_904_223, 4), 0xc1, 0xc3, 7, 0x49); // imul; add; rol ebx; dec ecx
    a.short(0x75, next);
  };

  // The first processor.
  const begin = label();
  a.put(0xfa, 0xbc, ...le(STACK, 4)); // cli; mov esp, STACK
  a.absolute([0x0f, 0x01, 0x15], gdtr, 4); // lgdt [gdtr]
  a.absolute([0xea], begin, 4);
  a.put(...le(CODE, 2)); // jmp CODE:begin
  a.place(begin);
  interrupts();
  starts(gdt, second).forEach(([address, value]) => {
    if (value instanceof Label) a.absolute([0xc7, 0x05, ...le(address, 4)], value, 4);
    else a.put(...store(address, value));
  });
  a.put(...send(3, INIT), ...send(1, INIT), ...send(1, STARTUP | (SECOND_START >> 12)));
  a.put(0xbb, ...le(1, 4), 0xbe, ...le(turns, 4)); // mov ebx, 1; mov esi, turns
  const [turn, wait, answered, quiet, poll] = [label(), label(), label(), label(), label()];
  // A call that comes before the second one has its local APIC on is lost.
  a.place(poll);
  a.put(0x83, 0x3d, ...le(SUM, 4), 0); // cmp dword [SUM], 0
  a.short(0x74, poll);
  a.place(turn);
  a.put(0xff, 0x05, ...le(CALLS, 4), ...send(1, 0x4000 | CALL)); // inc dword [CALLS]
  compute();
  a.place(wait);
  a.put(0xfa, 0xa1, ...le(ANSWERS, 4), 0x3b, 0x05, ...le(CALLS, 4)); // cli; mov eax, [ANSWERS]; cmp eax, [CALLS]
  a.short(0x74, answered);
  a.put(0xfb, 0xf4); // sti; hlt
  a.short(0xeb, wait);
  a.place(answered);
  a.put(0xf7, 0xc6, ...le(SMP_DOT_EVERY - 1, 4)); // test esi, SMP_DOT_EVERY - 1
  a.short(0x75, quiet);
  a.put(0x66, 0xba, 0xf8, 0x03, 0xb0, 0x2e, 0xee); // mov dx, 0x3f8; mov al, '.'; out
  a.place(quiet);
  a.put(0x4e); // dec esi
  a.relative([0x0f, 0x85], turn);
  for (const from of [[0x89, 0xd8], [0xa1, ...le(SUM, 4)]]) {
    const letter = label();
    a.put(...from, 0x89, 0xc7, 0xb9, ...le(8, 4), 0x66, 0xba, 0xf8, 0x03); // eax = ebx or [SUM]; mov edi, eax; mov ecx, 8; mov dx, 0x3f8
    a.place(letter);
    a.put(0xc1, 0xc7, 4, 0x89, 0xf8, 0x24, 15, 0x04, 0x41, 0xee, 0x49); // rol edi, 4; mov eax, edi; and al, 15; add al, 'A'; out; dec ecx
    a.short(0x75, letter);
  } // prettier-ignore
  a.put(...send(3, STARTUP | (FOURTH_START >> 12)));
  const last = label();
  a.place(last);
  a.put(0x83, 0x3d, ...le(FOURTH_DONE, 4), 0); // cmp dword [FOURTH_DONE], 0
  a.short(0x74, last);
  a.put(0xb0, SMP_ENDED, 0xe6, 0xf4, 0xfa, 0xf4); // mov al, SMP_ENDED; out 0xf4, al; cli; hlt

  // The second one.
  a.place(second);
  a.put(0x66, 0xb8, ...le(DATA, 2), 0x8e, 0xd8, 0x8e, 0xd0, 0x8e, 0xc0, 0xbc, ...le(SECOND_STACK, 4)); // ds, ss, es; esp
  interrupts();
  a.put(...store(SUM, 1));
  a.place(sleep);
  a.put(0xfb, 0xf4); // sti; hlt
  a.short(0xeb, sleep);

  const [call, answer, timer] = handlers.map(([, at]) => at) as [Label, Label, Label];
  a.place(call);
  a.put(0x8b, 0x1d, ...le(SUM, 4)); // mov ebx, [SUM]
  compute();
  a.put(0x89, 0x1d, ...le(SUM, 4), ...store(EOI, 0), ...send(0, 0x4000 | ANSWER), 0xcf); // mov [SUM], ebx; iret
  a.place(answer);
  a.put(0xff, 0x05, ...le(ANSWERS, 4), ...store(EOI, 0), 0xcf);
  a.place(timer);
  // It ends by push dword [esp + 8]; popf; retf 4: IRET takes a millisecond where KVM cannot emulate it, and timers do not wait.
  a.put(0xf0, 0xff, 0x05, ...le(TICKS, 4), ...store(EOI, 0), 0xff, 0x74, 0x24, 8, 0x9d, 0xca, 4, 0); // lock inc dword [TICKS]; …

  a.skipTo((a.here + 15) & ~15);
  a.place(gdt);
  a.put(...le(0, 8), ...le(0x00cf_9b00_0000_ffffn, 8), ...le(0x00cf_9300_0000_ffffn, 8));
  a.place(gdtr);
  a.absolute(le(GDT_LIMIT, 2), gdt, 4);
  a.place(idtr);
  a.absolute([...le((TIMER + 1) * 8 - 1, 2)], idt, 4);
  a.skipTo((a.here + 15) & ~15);
  a.place(idt);
  a.put(...Array.from({ length: CALL * 8 }, () => 0));
  for (const [, { at }] of handlers) a.put(...le(at! & 0xffff, 2), ...le(CODE, 2), 0, 0x8e, ...le(at! >>> 16, 2));
  return makeMultiboot(undefined, Uint8Array.from(a.finish()));
}

/** Words that the first processor puts where the others start, in real mode. */
function starts(gdt: Label, second: Label): (readonly [address: number, value: number | Label])[] {
  const words = (at: number, code: readonly number[]): (readonly [number, number])[] =>
    Array.from({ length: Math.ceil(code.length / 4) }, (_, n) => {
      const [b0 = 0, b1 = 0, b2 = 0, b3 = 0] = code.slice(4 * n);
      return [at + 4 * n, (b0 | (b1 << 8) | (b2 << 16) | (b3 << 24)) >>> 0];
    });
  const gdtr = SECOND_START + 0x80;
  const start = [
    0xfa, 0x66, 0x0f, 0x01, 0x16, ...le(gdtr, 2), // cli; lgdt [gdtr]
    0x0f, 0x20, 0xc0, 0x0c, 1, 0x0f, 0x22, 0xc0, // mov eax, cr0; or al, 1; mov cr0, eax
    0x66, 0xea, // jmp CODE:second
  ]; // prettier-ignore
  const fourth = [
    0xba, 0xf8, 0x03, 0xb0, 0x53, 0xee, // mov dx, 0x3f8; mov al, 'S'; out dx, al
    0x31, 0xc0, 0x8e, 0xd8, 0xc6, 0x06, ...le(FOURTH_DONE, 2), 1, // xor ax, ax; mov ds, ax; mov byte [FOURTH_DONE], 1
    0xf4, 0xeb, 0xfd,
  ]; // prettier-ignore
  return [
    ...words(SECOND_START, start),
    [SECOND_START + start.length, second],
    [SECOND_START + start.length + 4, CODE],
    [gdtr, GDT_LIMIT],
    [gdtr + 2, gdt],
    ...words(FOURTH_START, fourth),
  ];
}
