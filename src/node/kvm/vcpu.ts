/**
 * A vCPU on the thread that calls `run`, with interrupt controllers of our own: accesses to ports and to memory that is
 * no RAM go to the buses, HLT comes back, and interrupts are injected by KVM_INTERRUPT when KVM says that the guest
 * takes them. Every KVM_RUN is bounded by a timer: whatever the guest does, the thread's own events have their turn.
 */
import { VmError } from '../../base/errors.ts';
import { NO_EVENT, type ProcessorState, STARTED } from '../../machine/processor-state.ts';
import type { Exit, Registers, VCpu } from '../../machine/vcpu.ts';
import * as K from './abi.ts';
import { RunSignal } from './run-signal.ts';
import { checked } from './system.ts';
import { VCpuBase, type VCpuParts } from './vcpu-base.ts';
import type { Kick } from './vcpu-page.ts';

const { RUN } = K;
const RFLAGS_IF = 0x200n;
/** A timer of less would be over before the guest is entered. */
const SHORTEST_NS = 1000;

export class KvmVCpu extends VCpuBase implements VCpu {
  readonly #signal: RunSignal;
  readonly #vector = new Uint32Array(1);
  readonly #vectorBytes = new Uint8Array(this.#vector.buffer);
  #interrupt = false;
  #nmi = false;
  #halted = false;
  #stopAsked = false;
  #inside = false;

  constructor(parts: VCpuParts) {
    super(parts);
    this.#signal = new RunSignal(this.native, process.pid);
    checked(this.native.ioctlData(this.fd, K.KVM_SET_SIGNAL_MASK, this.#signal.mask), 'KVM_SET_SIGNAL_MASK');
  }

  /** What other threads call this one out of `run` with. */
  get kickHandle(): Kick {
    return { memory: this.page.memory, thread: this.#signal.thread };
  }

  run(budget: number): Exit {
    this.goOn();
    this.#signal.arm(Math.max(budget, SHORTEST_NS));
    this.#inside = true;
    try {
      for (;;) {
        const exit = this.#step();
        if (exit) return exit;
      }
    } finally {
      this.#inside = false;
      this.#signal.arm(0);
      this.#signal.drain();
    }
  }

  /** From one exit of KVM_RUN to the next; answers what `run` comes back with, if it does. */
  #step(): Exit | undefined {
    if (this.page.takeRequest() || this.#stopAsked) {
      this.#stopAsked = false;
      return { kind: 'budget' };
    }
    this.#inject();
    if (this.#halted) return { kind: 'halt' };
    const priority = Number(this.host.cr8);
    this.data.setUint32(RUN.cr8, priority, true);
    const result = this.native.ioctl(this.fd, K.KVM_RUN, 0);
    const now = this.data.getUint32(RUN.cr8, true);
    if (now !== priority) this.host.cr8 = BigInt(now);
    if (result < 0) {
      this.count(K.KVM_EXIT_INTR);
      this.unfinished = false;
      if (result === -K.EINTR || result === -K.EAGAIN) return { kind: 'budget' };
      throw new VmError('host-io', `KVM_RUN failed with error ${-result}`);
    }
    return this.serve(this.data.getUint32(RUN.exitReason, true));
  }

  protected override serve(reason: number): Exit | undefined {
    if (reason === K.KVM_EXIT_HLT) this.#halted = true;
    return super.serve(reason);
  }

  /** Gives KVM what waits and the guest can take, and asks to be told when it can take the rest. */
  #inject(): void {
    if (this.#nmi) {
      this.#nmi = false;
      this.#halted = false;
      checked(this.native.ioctl(this.fd, K.KVM_NMI, 0), 'KVM_NMI');
    }
    const { data } = this;
    if (this.#interrupt && data.getUint8(RUN.readyForInterruptInjection) && data.getUint8(RUN.ifFlag)) {
      const vector = this.host.acknowledge();
      if (vector >= 0) {
        this.#vector[0] = vector;
        checked(this.native.ioctlData(this.fd, K.KVM_INTERRUPT, this.#vectorBytes), 'KVM_INTERRUPT');
        this.#halted = false;
        // One at a time: KVM says when it takes the next.
        data.setUint8(RUN.readyForInterruptInjection, 0);
      }
    }
    data.setUint8(RUN.requestInterruptWindow, this.#interrupt ? 1 : 0);
  }

  /** Every turn of the loop looks at the interrupt input: a device's handler has nothing to add. */
  kick(): void {}

  stop(): void {
    this.#stopAsked = true;
  }

  pause(): void {
    this.standStill();
  }

  setInterrupt(level: boolean): void {
    this.#interrupt = level;
  }

  nmi(): void {
    this.#nmi = true;
  }

  protected settle(): void {
    if (this.#inside) return;
    this.data.setUint8(RUN.immediateExit, 1);
    while (this.unfinished) {
      const result = this.native.ioctl(this.fd, K.KVM_RUN, 0);
      if (result < 0) this.unfinished = false;
      else this.serve(this.data.getUint32(RUN.exitReason, true));
    }
    this.data.setUint8(RUN.immediateExit, 0);
  }

  override reset(): void {
    super.reset();
    this.#interrupt = false;
    this.#nmi = false;
    this.#halted = false;
    this.#setWindow(0n);
  }

  /** What KVM said about the state before this one does not hold for it; KVM says it again at the next exit. */
  #setWindow(rflags: bigint, blocked = false): void {
    const enabled = (rflags & RFLAGS_IF) !== 0n;
    this.data.setUint8(RUN.readyForInterruptInjection, enabled && !blocked ? 1 : 0);
    this.data.setUint8(RUN.ifFlag, enabled ? 1 : 0);
  }

  protected get waiting(): Pick<ProcessorState, 'startup' | 'halted'> {
    return { startup: STARTED, halted: this.#halted };
  }

  protected override adopt(state: ProcessorState): void {
    super.adopt(state);
    this.#halted = state.halted;
    this.#setWindow(state.rflags, state.shadow || state.event.kind !== NO_EVENT);
  }

  override setRegisters(registers: Partial<Registers>): void {
    super.setRegisters(registers);
    if (registers.rflags !== undefined) this.#setWindow(registers.rflags);
  }

  protected release(): void {
    this.#signal.dispose();
  }
}
