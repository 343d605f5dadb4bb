import type { Bus } from './bus.ts';
import type { Device } from './device.ts';
import type { I8259State, IoApicState, LocalApicState } from './interrupt-state.ts';
import type { IrqLine, MsiSink } from './irq.ts';
import type { Memory } from './memory.ts';
import type { ProcessorState } from './processor-state.ts';

/** Why `run` came back. */
export type Exit =
  | { readonly kind: 'budget' } // the instruction budget is used up, or the vCPU was kicked
  | { readonly kind: 'halt' } // HLT with nothing to do: call again after an interrupt
  | { readonly kind: 'shutdown' }; // triple fault: hardware would reset

/** How guest time follows the instructions executed: `baseNs + floor((executed - start) * rate)`. */
export interface TimeScale {
  readonly baseNs: number;
  readonly start: number;
  readonly rate: number;
}

/** An accelerator's way to the rest of the machine. */
export interface VCpuHost {
  readonly memory: Memory;
  readonly pio: Bus;
  readonly mmio: Bus;
  /** Acknowledges the pending external interrupt and returns its vector, or -1 when it has gone away. */
  acknowledge(): number;
  /** Guest time, which is also the time-stamp counter: one tick a nanosecond. While `run` is running, it changes with a call of `timeMoved` only. */
  readonly time: TimeScale;
  /** Wall-clock time at guest time 0, in milliseconds since 1970. */
  readonly epochMs: number;
  /** FERR#: an x87 exception while CR0.NE is clear. SDM vol. 1, 8.7.2. */
  fpuError(): void;
  /** Random bytes from the host, for RDRAND and RDSEED. */
  random(): bigint;
  /** Task priority (CR8), 0 to 15, kept by the interrupt controller. */
  cr8: bigint;
  /** The guest's time-stamp counter is guest time plus this from now on, for the interrupt controller's TSC deadline. */
  tscMoved(offset: bigint): void;
  /** MSRs of the interrupt controller (IA32_APIC_BASE, x2APIC). Undefined when it has no such register: #GP. */
  readMsr(index: number): bigint | undefined;
  /** False when the register does not exist or refuses the value: #GP. */
  writeMsr(index: number, value: bigint): boolean;
}

/**
 * What a vCPU has done since it was made, for people. `--stats --json` prints it, so these names are an interface:
 * docs/performance.md describes them.
 */
export interface VCpuCounts {
  /** Executed: `interpreted + compiled`. */
  readonly instructions: number;
  readonly interpreted: number;
  readonly compiled: number;
  readonly decoded: number;
  /** Translations that no TLB had. */
  readonly tlbMisses: number;
  /** Pages whose decoded code was dropped because it changed. */
  readonly invalidations: number;
  /** How often generated code was left for the accelerator's own, by cause. */
  readonly exits: Readonly<Record<string, number>>;
  /** Absent when nothing compiles. */
  readonly compiler?: Readonly<CompilerCounts>;
}

export interface CompilerCounts {
  regions: number;
  /** Regions that have been taken away again. */
  dropped: number;
  /** Guest instructions in all regions; one in two regions counts twice. */
  steps: number;
  modules: number;
  /** Of all modules' code. */
  bytes: number;
  /** Modules that the host's own compiler did not take. */
  refused: number;
  /** Host time for finding regions, building their code, and handing it to the host's own compiler. */
  findMs: number;
  emitMs: number;
  moduleMs: number;
}

/** What can be saved, and go on from another's state. */
export interface Architectural {
  /** All that is architectural, for another accelerator to go on from. Not to be called from a device's handler. */
  architecture(): ProcessorState;
  /** Throws VmError `unsupported` when this processor lacks what the state needs. */
  setArchitecture(state: ProcessorState): void;
}

/**
 * One processor. Never throws for what the guest did. Times are in instructions executed since power-on, which is
 * exact: equal machines given equal inputs at equal counts stay equal.
 */
export interface VCpu extends Architectural {
  /**
   * What `executed` and budgets count. Nanoseconds: the host's processor runs the guest, nobody counts its instructions,
   * and guest time is the host's; `executed` goes on while the vCPU does not run, from its first `run` on and but for pauses.
   */
  readonly unit: 'instructions' | 'nanoseconds';
  /** Instructions executed since power-on, below 2^53; exact also while a device's handler runs. */
  readonly executed: number;
  /** Runs at most `budget` instructions (a `rep` string instruction counts once per bounded chunk). */
  run(budget: number): Exit;
  /** Makes a running `run` look for interrupts soon; callable from a device's handler. */
  kick(): void;
  /** Makes `run` return at the next instruction boundary. */
  stop(): void;
  /** Guest time has been moved while a device's handler runs. Absent: it does not follow the instructions. */
  timeMoved?(): void;
  /** Level of the INTR input. */
  setInterrupt(level: boolean): void;
  /** Edge on the NMI input. */
  nmi(): void;
  /** A snapshot of its figures, for people. */
  readonly counts: VCpuCounts;
  /** Power-on state: real mode at F000:FFF0. SDM vol. 3, table 9-1. */
  reset(): void;
  /** Everything architectural, as plain data, and back. */
  save(): unknown;
  restore(data: unknown): void;
  registers(): Registers;
  setRegisters(registers: Partial<Registers>): void;
  /** Ends what goes on after `run` has come back, until the next `run`. Absent: nothing does. */
  pause?(): void;
}

/** Processors that an accelerator makes together. */
export interface AcceleratorProcessors {
  /** All of them, as one to run; its registers are the first one's. */
  readonly vcpu: VCpu;
  /** Each, by APIC id. */
  readonly each: readonly Architectural[];
  readonly chips: AcceleratorChips;
}

/** Interrupt controllers that an accelerator has itself. They are in the state that ours would be in. */
export interface AcceleratorChips {
  /** By ISA interrupt below 16, which reaches the 8259As and the I/O APIC; above by pin of the I/O APIC. */
  readonly lines: readonly IrqLine[];
  readonly msi: MsiSink;
  readonly pic: Device<I8259State>;
  readonly slavePic: Device<I8259State>;
  readonly ioApic: Device<IoApicState>;
  /** By APIC id; the bootstrap processor's comes first. */
  readonly localApics: readonly Device<LocalApicState>[];
}

/** A descriptor-cache view of a segment register. `attributes` as in a VMCS access-rights field: SDM vol. 3, 25.4.1. */
export interface Segment {
  selector: number;
  base: bigint;
  limit: number;
  attributes: number;
}

export type SegmentName = 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'ldtr' | 'tr';

/** What boot protocols, tests and debuggers read and set. */
export interface Registers {
  /** rax rcx rdx rbx rsp rbp rsi rdi r8…r15 */
  gpr: bigint[];
  rip: bigint;
  rflags: bigint;
  segments: Record<SegmentName, Segment>;
  gdtr: { base: bigint; limit: number };
  idtr: { base: bigint; limit: number };
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  efer: bigint;
}

/** What a guest has seen of its processor, and must find again. */
export interface CpuIdentity {
  /** A CPUID model. */
  readonly name: string;
  readonly features: readonly string[];
  /** What its TSC counts in a millisecond. */
  readonly tscKhz: number;
}

/** A vCPU's way to the rest of the machine, without the interrupt controllers. */
export type ChiplessHost = Omit<VCpuHost, 'acknowledge' | 'cr8' | 'tscMoved' | 'readMsr' | 'writeMsr'>;

/** Executes for another accelerator what that cannot, over the same memory. */
export type Completer = Pick<Accelerator, 'reservedBytes' | 'createVCpu'>;

/** Makes vCPUs over a memory. */
export interface Accelerator {
  readonly name: 'interpreter' | 'jit' | 'kvm';
  readonly cpu: CpuIdentity;
  /** Bytes it wants below the RAM in the machine's `Memory`. */
  readonly reservedBytes: number;
  createVCpu(host: VCpuHost): VCpu;
  /**
   * Makes all processors together with interrupt controllers of the accelerator's own, which then stand in place of
   * the board's. Throws VmError `unsupported` when there are too many.
   * @param wake called when a sleeping machine has to call `run`
   */
  readonly createWithChips?: ((host: ChiplessHost, processors: number, wake: () => void) => AcceleratorProcessors) | undefined;
}
