/**
 * Whether KVM really runs guests here. A host may offer all of KVM's interface and still lack hardware virtualisation:
 * it then emulates the guest's kernel, slowly and with gaps. Capabilities do not tell; running does.
 */
import { bareHost } from '../../machine/bare-host.ts';
import { Bus } from '../../machine/bus.ts';
import { Memory } from '../../machine/memory.ts';
import type { Registers, Segment } from '../../machine/vcpu.ts';
import type { KvmAccelerator } from './accelerator.ts';
import type { KvmVCpu } from './vcpu.ts';

const RAM_BYTES = 1 << 20;
const PML4 = 0x1000;
const PDPT = 0x2000;
const PAGE_DIRECTORY = 0x3000;
const PAGE_DIRECTORY32 = 0x4000;
const CODE = 0x8000;
const KERNEL = 0x9000;
const STACK = 0xa000;
const PORT = 0x10;
const DONE = [0xe6, PORT, 0xf4]; // out %al, $PORT; hlt

const PRESENT_WRITABLE_USER = 7;
const LARGE_PAGE = 0x80;

// Access rights: SDM vol. 3, table 25-2.
const CODE32 = 0xc09b;
const CODE64 = 0xa09b;
const DATA = 0xc093;
const USER = 0x60;
const BUSY_TSS = 0x8b;
const UNUSABLE = 0x1_0000;
const MSR_STAR = 0xc000_0081;
const MSR_LSTAR = 0xc000_0082;
const MSR_FMASK = 0xc000_0084;

const CR0_PE_ET = 0x11n;
const CR0_PG = 0x8000_0000n;
const CR4_PAE = 0x20n;
const EFER_SCE_LME_LMA = 0x501n;

const LOOPS = 100_000;
const MIPS_MIN = 50;
const NS_PER_MS = 1e6;
/** No probe takes longer. */
const LIMIT_NS = 50 * NS_PER_MS;
const ATTEMPTS = 3;

/** One thing that a guest has to be able to do. */
export interface Finding {
  readonly what: string;
  readonly works: boolean;
  /** What is done without it, where machines run all the same; absent when they need it. */
  readonly instead?: string;
}

const flat = (selector: number, attributes: number): Segment => ({ selector, base: 0n, limit: 0xffff_ffff, attributes });

/** Flat segments; user mode with `privilege` USER. */
function registers(code: number, privilege: number): Partial<Registers> {
  const data = flat(0x18, DATA | privilege);
  return {
    gpr: Array.from({ length: 16 }, (_, n) => (n === 4 ? BigInt(STACK) : 0n)),
    rip: BigInt(CODE),
    rflags: 2n,
    segments: {
      cs: flat(0x10, code | privilege),
      ss: data,
      ds: data,
      es: data,
      fs: data,
      gs: data,
      ldtr: flat(0, UNUSABLE),
      tr: { ...flat(0x20, BUSY_TSS), limit: 0x67 },
    },
    idtr: { base: 0n, limit: 0 },
  };
}

const LONG = { cr0: CR0_PE_ET | CR0_PG, cr3: BigInt(PML4), cr4: CR4_PAE, efer: EFER_SCE_LME_LMA };

/** A guest that ends by an access to PORT, or not at all. */
class Trial {
  readonly vcpu: KvmVCpu;
  readonly #memory = new Memory(RAM_BYTES, 0);
  #reached = false;

  constructor(accelerator: KvmAccelerator) {
    const pio = new Bus('pio');
    pio.map(PORT, 1, 'end', { read: () => 0, write: () => void (this.#reached = true) });
    this.vcpu = accelerator.createVCpu(bareHost(this.#memory, { pio }));
    this.#memory.write32(PML4, PDPT | PRESENT_WRITABLE_USER);
    this.#memory.write32(PDPT, PAGE_DIRECTORY | PRESENT_WRITABLE_USER);
    this.#memory.write32(PAGE_DIRECTORY, LARGE_PAGE | PRESENT_WRITABLE_USER);
    this.#memory.write32(PAGE_DIRECTORY32, LARGE_PAGE | PRESENT_WRITABLE_USER);
  }

  place(gpa: number, code: readonly number[]): void {
    this.#memory.view(gpa, code.length)!.set(code);
  }

  /** Whether it got to the port; KVM that gives up is a no. */
  ends(): boolean {
    this.#reached = false;
    try {
      this.vcpu.run(LIMIT_NS);
    } catch {
      return false;
    }
    return this.#reached;
  }
}

/** 32-bit paging, which every 32-bit system and the start of many a 64-bit one use. */
function paging32(trial: Trial): boolean {
  trial.place(CODE, [
    ...[0xb8, 0, PAGE_DIRECTORY32 >> 8, 0, 0, 0x0f, 0x22, 0xd8], // mov $PAGE_DIRECTORY32, %eax; mov %eax, %cr3
    ...[0x0f, 0x20, 0xe0, 0x0c, 0x10, 0x0f, 0x22, 0xe0], // CR4.PSE
    ...[0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0, 0xeb, 0], // CR0.PG; jmp
    ...DONE,
  ]);
  trial.vcpu.setRegisters({ ...registers(CODE32, 0), cr0: CR0_PE_ET, cr3: 0n, cr4: 0n, efer: 0n });
  return trial.ends();
}

/** SYSCALL from user mode must arrive in the kernel with the kernel's rights: only those may read CR0. */
function systemCall(trial: Trial): boolean {
  trial.place(CODE, [0x0f, 0x05]);
  trial.place(KERNEL, [0x0f, 0x20, 0xc0, ...DONE]); // mov %cr0, %rax
  trial.vcpu.setRegisters({ ...registers(CODE64, USER), ...LONG });
  trial.vcpu.setMsr(MSR_STAR, (0x10n << 32n) | (0x20n << 48n));
  trial.vcpu.setMsr(MSR_LSTAR, BigInt(KERNEL));
  trial.vcpu.setMsr(MSR_FMASK, 0n);
  return trial.ends();
}

/** A loop in kernel mode at the speed of a processor. */
function fast(trial: Trial): boolean {
  const count = [LOOPS & 0xff, (LOOPS >> 8) & 0xff, LOOPS >> 16, 0];
  trial.place(CODE, [0xb9, ...count, 0xff, 0xc9, 0x75, 0xfc, ...DONE]); // mov $LOOPS, %ecx; again: dec %ecx; jnz again
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    trial.vcpu.setRegisters({ ...registers(CODE64, 0), ...LONG });
    const before = trial.vcpu.executed;
    // What this takes besides the loop's 2 · LOOPS instructions is little.
    if (trial.ends() && (2 * LOOPS * 1000) / (trial.vcpu.executed - before) > MIPS_MIN) return true;
  }
  return false;
}

const PROBES: readonly { readonly what: string; readonly probe: (trial: Trial) => boolean }[] = [
  { what: '32-bit paging', probe: paging32 },
  { what: 'system calls', probe: systemCall },
  { what: 'kernel code at full speed', probe: fast },
];

/** What guests can do here: one finding for each probe, or up to the first that fails. */
export function probeKvm(accelerator: KvmAccelerator, upTo: 'all' | 'first failure' = 'all'): Finding[] {
  const findings: Finding[] = [];
  for (const { what, probe } of PROBES) {
    const trial = new Trial(accelerator);
    const works = probe(trial);
    trial.vcpu.dispose();
    findings.push({ what, works });
    if (!works && upTo === 'first failure') break;
  }
  return findings;
}
