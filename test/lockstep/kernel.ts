/** The kernel under a lockstep program: handlers that let it go on after any fault, and services that pull the ground away. */
import { le, type Bench } from '../engine/bench.ts';
import { Assembler, Label } from '../engine/assembler.ts';
import * as A from './layout.ts';

const TSS = 0x3000;
const IDT = 0x2000;

const abs = (address: number): number[] => le(address, 4);
/** Opcode and ModRM of an operation on [disp32], by its reg field. */
const at = (opcode: readonly number[], reg: number, address: number): number[] => [...opcode, 0x04 | (reg << 3), 0x25, ...abs(address)];

const PUSH_RAX = [0x50];
const PUSH_RCX = [0x51];
const PUSH_RDX = [0x52];
const POP_RAX = [0x58];
const POP_RCX = [0x59];
const POP_RDX = [0x5a];
const IRETQ = [0x48, 0xcf];
const RET = [0xc3];

/** Vectors with an error code that end in recovery. */
const WITH_CODE = [8, 10, 11, 12, 13, 17];

/** Where the kernel's doors are. */
interface Doors {
  readonly recover: Label;
  readonly recoverWithCode: Label;
  readonly deviceOff: Label;
  readonly pageFault: Label;
  readonly nmi: Label;
  readonly tick: Label;
  readonly reschedule: Label;
  readonly service: Label;
  readonly systemCall: Label;
  readonly services: readonly Label[];
}

/** @param table physical address of the page table of the first 2 MiB; @param other the second address space's */
function assemble(table: number, other: number): { code: readonly number[]; doors: Doors } {
  const a = new Assembler(A.KERNEL);
  const label = (): Label => {
    const made = new Label();
    a.place(made);
    return made;
  };

  /** Goes on at the next landing: expects an error code on the stack. */
  const recoverWithCode = label();
  a.put(0xbb, ...abs(A.DATA + 0x100), 0xbe, ...abs(A.dataPage(1)), 0xbf, ...abs(A.dataPage(2) - 0x40), 0xbd, ...abs(A.dataPage(5))); // rbx rsi rdi rbp
  a.put(...at([0x8b], 0, A.FAULTS), ...at([0xff], 0, A.FAULTS)); // mov eax,[FAULTS]; inc dword [FAULTS]
  a.put(0x83, 0xe0, A.LANDING_COUNT - 1, 0x48, 0x8b, 0x04, 0xc5, ...abs(A.LANDINGS)); // and eax,15; mov rax,[LANDINGS+rax*8]
  a.put(0x48, 0x89, 0x44, 0x24, 0x08); // mov [rsp+8],rax
  a.put(0x81, 0x64, 0x24, 0x18, ...abs(0x0ad7), 0x81, 0x4c, 0x24, 0x18, ...abs(0x200)); // no TF, DF, NT, AC, IOPL; IF
  a.put(0x48, 0xc7, 0x44, 0x24, 0x20, ...abs(A.STACK_TOP - 0x100)); // mov qword [rsp+32],STACK
  a.put(0xb9, ...abs(0x7f), 0x48, 0x83, 0xc4, 0x08, ...IRETQ); // mov ecx,7fh
  const recover = label();
  a.put(0x6a, 0x00);
  a.relative([0xe9], recoverWithCode);

  const deviceOff = label();
  a.put(0x0f, 0x06, ...IRETQ); // clts

  /** Maps a lazy data page, or gives a code page back its entry. */
  const pageFault = label();
  const notLazy = new Label();
  const lost = new Label();
  a.put(...PUSH_RAX, ...PUSH_RCX, 0x0f, 0x20, 0xd0, 0x89, 0xc1, 0x81, 0xe9, ...abs(A.DATA)); // mov rax,cr2; mov ecx,eax; sub ecx,DATA
  a.put(0xc1, 0xe9, 12, 0x83, 0xf9, A.DATA_PAGES); // shr ecx,12; cmp ecx,8
  a.relative([0x0f, 0x83], notLazy); // jae
  a.put(0xb8, ...abs(A.LAZY.reduce((mask, page) => mask | (1 << page), 0)), 0x0f, 0xa3, 0xc8); // mov eax,mask; bt eax,ecx
  a.relative([0x0f, 0x83], lost); // jnc
  a.put(0xf6, 0x04, 0xcd, ...abs(table + (A.DATA >> 12) * 8), 0x01); // test byte [pte],1
  a.relative([0x0f, 0x85], lost); // jnz
  for (const each of [table, other]) a.put(0x80, 0x0c, 0xcd, ...abs(each + (A.DATA >> 12) * 8), 0x01); // or byte [pte],1
  a.put(...POP_RCX, ...POP_RAX, 0x48, 0x83, 0xc4, 0x08, ...IRETQ);
  a.place(notLazy);
  a.put(0x89, 0xc1, 0x48, 0xc1, 0xe8, 32, 0x85, 0xc0); // mov ecx,eax; shr rax,32; test eax,eax
  a.relative([0x0f, 0x85], lost);
  a.put(0x81, 0xe9, ...abs(A.CODE), 0xc1, 0xe9, 12, 0x83, 0xf9, A.CODE_PAGES); // sub ecx,CODE; shr ecx,12; cmp ecx,8
  a.relative([0x0f, 0x83], lost);
  a.put(0x48, 0x8b, 0x04, 0xcd, ...abs(A.CODE_ENTRIES)); // mov rax,[CODE_ENTRIES+rcx*8]
  a.put(0x48, 0x33, 0x04, 0xcd, ...abs(table + (A.CODE >> 12) * 8), 0x48, 0x25, ...abs(-1 & ~0x60)); // xor rax,[pte]; and rax,~(A|D)
  a.relative([0x0f, 0x84], lost); // jz
  a.put(0x48, 0x8b, 0x04, 0xcd, ...abs(A.CODE_ENTRIES), 0x48, 0x89, 0x04, 0xcd, ...abs(table + (A.CODE >> 12) * 8)); // mov [pte],rax
  a.put(0xc1, 0xe1, 12, 0x0f, 0x01, 0xb9, ...abs(A.CODE)); // shl ecx,12; invlpg [rcx+CODE]
  a.put(...POP_RCX, ...POP_RAX, 0x48, 0x83, 0xc4, 0x08, ...IRETQ);
  a.place(lost);
  a.put(...POP_RCX, ...POP_RAX);
  a.relative([0xe9], recoverWithCode);

  const nmi = label();
  a.put(0x48, ...at([0xff], 0, A.NMIS), ...IRETQ);
  /** Counts, and does the service that the count says. */
  const call = new Label();
  const tick = label();
  a.put(...PUSH_RAX, ...PUSH_RCX, ...PUSH_RDX, 0x48, ...at([0xff], 0, A.TICKS), 0x0f, 0x31, ...at([0x89], 0, A.STAMP)); // rdtsc; mov [STAMP],eax
  a.put(...at([0x8b], 0, A.TICKS), 0x89, 0xc2, 0xc1, 0xea, 4, 0x31, 0xc2); // mov eax,[TICKS]; mov edx,eax; shr edx,4; xor edx,eax
  a.relative([0xe8], call);
  a.put(...POP_RDX, ...POP_RCX, ...POP_RAX, ...IRETQ);
  const reschedule = label();
  a.relative([0x6a, 0x00, 0xe9], recoverWithCode);

  const service = label();
  a.put(...PUSH_RCX, ...PUSH_RDX);
  a.relative([0xe8], call);
  a.put(...POP_RDX, ...POP_RCX, ...IRETQ);
  const systemCall = label();
  a.put(0x0f, 0x01, 0xf8, 0x65, 0x48, 0x89, 0x24, 0x25, ...abs(0)); // swapgs; mov gs:[0],rsp
  a.put(0xbc, ...abs(A.kernelStack - 0x400), ...PUSH_RCX, 0x41, 0x53); // mov esp; push rcx; push r11
  a.relative([0xe8], call);
  a.put(0x41, 0x5b, ...POP_RCX, 0x65, 0x48, 0x8b, 0x24, 0x25, ...abs(0), 0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07); // pop; mov rsp,gs:[0]; swapgs; sysretq

  /** Service AL on argument RDX; may change RAX, RCX and RDX. */
  a.place(call);
  a.put(0x83, 0xe0, 0x0f, 0xff, 0x24, 0xc5, ...abs(A.SERVICES)); // and eax,15; jmp [SERVICES+rax*8]
  const services: Label[] = [];
  const one = (...bytes: readonly number[]): void => {
    services.push(label());
    a.put(...bytes, ...RET);
  };
  const pageOfCode = [0x83, 0xe2, A.CODE_PAGES - 1]; // and edx,7
  const entryOfCode = abs(table + (A.CODE >> 12) * 8);
  const flushCode = [0xc1, 0xe2, 12, 0x0f, 0x01, 0xba, ...abs(A.CODE)]; // shl edx,12; invlpg [rdx+CODE]
  one();
  for (const page of A.LAZY) {
    one(
      ...[table, other].flatMap((each) => at([0x80], 4, each + ((A.DATA >> 12) + page) * 8).concat(0xfe)),
      ...at([0x0f, 0x01], 7, A.dataPage(page)),
    ); // and byte [pte],~1; invlpg
  }
  one(0x83, 0xe2, 0x07, 0x48, 0x8b, 0x04, 0xd5, ...abs(A.SPACES), 0x0f, 0x22, 0xd8); // and edx,7; mov rax,[SPACES+rdx*8]; mov cr3,rax
  one(0x83, 0xe2, 0x07, 0x48, 0x8b, 0x04, 0xd5, ...abs(A.SPACES), 0x0f, 0x22, 0xd8);
  // Two code pages change places.
  one(
    0x83, 0xe2, A.CODE_PAGES - 2, 0x48, 0x8b, 0x04, 0xd5, ...entryOfCode, 0x48, 0x8b, 0x0c, 0xd5, ...abs(table + (A.CODE >> 12) * 8 + 8),
    0x48, 0x89, 0x0c, 0xd5, ...entryOfCode, 0x48, 0x89, 0x04, 0xd5, ...abs(table + (A.CODE >> 12) * 8 + 8), ...flushCode, 0x0f, 0x01, 0xba, ...abs(A.CODE + A.PAGE),
  ); // prettier-ignore
  // A code page goes, and another may no longer be executed.
  one(...pageOfCode, 0x80, 0x24, 0xd5, ...entryOfCode, 0xfe, ...flushCode);
  one(...pageOfCode, 0x48, 0x0f, 0xba, 0x2c, 0xd5, ...entryOfCode, 63, ...flushCode); // bts qword [pte],63
  one(...pageOfCode, 0x48, 0x0f, 0xba, 0x3c, 0xd5, ...entryOfCode, 8, ...flushCode); // btc qword [pte],8: global
  // An immediate changes.
  one(0x83, 0xe2, A.MUTABLE_COUNT - 1, 0x48, 0x8b, 0x14, 0xd5, ...abs(A.MUTABLE), 0xff, 0x02); // inc dword [rdx]
  one(0x0f, 0x20, 0xc0, 0x83, 0xc8, 0x08, 0x0f, 0x22, 0xc0); // CR0.TS
  one(0x0f, 0x31, ...at([0x01], 0, A.STAMP)); // rdtsc; add [STAMP],eax
  one(0x0f, 0x20, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0); // CR4.PGE off and on
  one(0xfb, 0x90, 0xfa); // sti; nop; cli
  // A piece of a code page is copied onto itself.
  one(
    0x56,
    0x57,
    0x81,
    0xe2,
    ...abs(A.CODE_PAGES * A.PAGE - 0x100),
    0x8d,
    0xb2,
    ...abs(A.CODE),
    0x89,
    0xf7,
    0xb9,
    ...abs(64),
    0xf3,
    0xa4,
    0x5f,
    0x5e,
  ); // and edx; lea esi,[rdx+CODE]; mov edi,esi; rep movsb
  one(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8); // mov rax,cr3; mov cr3,rax
  return {
    code: a.finish(),
    doors: { recover, recoverWithCode, deviceOff, pageFault, nmi, tick, reschedule, service, systemCall, services },
  };
}

/** Gate with an own stack of the TSS's IST (0: none). */
function gate(bench: Bench, vector: number, door: Label, ist: number, type = 0x8e): void {
  bench.gate(vector, door.at!, type);
  bench.poke(IDT + vector * 16 + 4, [ist]);
}

/** Installs the kernel on a bench whose tables are made. Answers the address of SYSCALL's entry. */
export function installKernel(bench: Bench, table: number, other: number): number {
  const { code, doors } = assemble(table, other);
  if (A.KERNEL + code.length > A.VARIABLES) throw new Error('bug: the kernel is too large');
  bench.poke(A.KERNEL, code);
  bench.poke64(TSS + 0x24, BigInt(A.FAULT_STACK));
  bench.poke64(TSS + 0x2c, BigInt(A.NMI_STACK));
  for (let vector = 0; vector < 32; vector++) gate(bench, vector, WITH_CODE.includes(vector) ? doors.recoverWithCode : doors.recover, 1);
  gate(bench, 2, doors.nmi, 2);
  gate(bench, 7, doors.deviceOff, 1);
  gate(bench, 14, doors.pageFault, 1);
  gate(bench, A.TICK, doors.tick, 0);
  gate(bench, A.RESCHEDULE, doors.reschedule, 1);
  gate(bench, A.SERVICE, doors.service, 0, 0xee);
  doors.services.slice(0, 16).forEach((service, n) => bench.poke64(A.SERVICES + n * 8, BigInt(service.at!)));
  return doors.systemCall.at!;
}
