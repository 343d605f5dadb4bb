/**
 * A local APIC in the host's kernel, as a device. Its timer is the kernel's and never stands still, so it is taken from there when
 * the machine does: what it counts is kept here meanwhile.
 */
import { isPeriodic, localApicState, timerCount, type LocalApicState } from '../../machine/interrupt-state.ts';
import { SREGS } from './abi.ts';
import { KernelDevice } from './kernel-device.ts';
import { CURRENT_COUNT, INITIAL_COUNT, IRR, LVT_TIMER, type KvmLocalApic, localApicFromKvm, localApicToKvm } from './lapic-state.ts';
import type { Native } from './native.ts';
import { getMsr, getPart, setMsr, setPart } from './vcpu-state.ts';

const IA32_TSC_DEADLINE = 0x6e0;
const LVT_MASKED = 1 << 16;
const REGISTER_STRIDE = 16;
/** A guest that goes on by itself meanwhile, as on a host without hardware virtualisation, is looked at again. */
const ATTEMPTS = 4;

type TimerState = Pick<LocalApicState, 'initialCount' | 'periodStart' | 'expiryNs' | 'tscDeadline'>;
const timerOf = ({ initialCount, periodStart, expiryNs, tscDeadline }: LocalApicState): TimerState => ({
  initialCount,
  periodStart,
  expiryNs,
  tscDeadline,
});

export class KernelLocalApic extends KernelDevice<LocalApicState> {
  readonly #native: Native;
  readonly #fd: number;
  readonly #now: () => number;
  /** The timer while it stands still; undefined: the kernel's runs. */
  #stopped: TimerState | undefined;

  /** @param now guest time in nanoseconds */
  constructor(native: Native, vcpuFd: number, id: number, now: () => number) {
    super(
      localApicState,
      (before) => ({ ...localApicFromKvm(this.#read(), before, now()), ...this.#stopped }),
      (state) => {
        const { page, base, tscDeadline } = localApicToKvm(getPart(native, vcpuFd, 'lapic'), state, id, now());
        const sregs = getPart(native, vcpuFd, 'sregs');
        sregs.setBigUint64(SREGS.apicBase, base, true);
        sregs.setBigUint64(SREGS.cr8, BigInt(state.tpr >> 4), true);
        setPart(native, vcpuFd, 'sregs', sregs);
        if (this.#stopped) {
          this.#stopped = timerOf(state);
          this.#writeStopped(page);
        } else {
          setPart(native, vcpuFd, 'lapic', page);
          setMsr(native, vcpuFd, IA32_TSC_DEADLINE, tscDeadline);
        }
      },
    );
    this.#native = native;
    this.#fd = vcpuFd;
    this.#now = now;
  }

  #read(): KvmLocalApic {
    const page = getPart(this.#native, this.#fd, 'lapic');
    const base = getPart(this.#native, this.#fd, 'sregs').getBigUint64(SREGS.apicBase, true);
    return { page, base, tscDeadline: getMsr(this.#native, this.#fd, IA32_TSC_DEADLINE) ?? 0n };
  }

  #writeStopped(page: DataView): void {
    page.setUint32(INITIAL_COUNT, 0, true);
    page.setUint32(CURRENT_COUNT, 0, true);
    setMsr(this.#native, this.#fd, IA32_TSC_DEADLINE, 0n);
    setPart(this.#native, this.#fd, 'lapic', page);
  }

  /**
   * Takes the timer from the kernel; its vCPU is not in KVM_RUN.
   * @param flush makes the kernel deliver what has expired: it does so in KVM_RUN only
   */
  stop(flush: () => void): void {
    if (this.#stopped) return;
    for (let attempt = 1; ; attempt++) {
      const before = this.#read();
      const counts = before.page.getUint32(INITIAL_COUNT, true) !== 0 || before.tscDeadline !== 0n;
      const rip = this.#registers();
      if (counts) flush();
      const after = this.#read();
      if (counts && rip !== this.#registers() && attempt < ATTEMPTS) continue;
      // Expired since, and not delivered: with the timer, that would be forgotten.
      const owes = counts && (beginsAgain(after.page) || expired(before, after));
      const timer = timerOf(localApicFromKvm(after, this.state, this.#now()));
      if (owes) this.#raise(after.page);
      if (counts) this.#writeStopped(after.page);
      this.#stopped = timer;
      return;
    }
  }

  /** As text, for comparison. */
  #registers(): string {
    return new Uint8Array(getPart(this.#native, this.#fd, 'regs').buffer).join();
  }

  /** Puts the timer's vector into the IRR, if it is not masked. */
  #raise(page: DataView): void {
    const { lvtTimer } = this.state;
    if (lvtTimer & LVT_MASKED) return;
    const at = IRR + REGISTER_STRIDE * ((lvtTimer & 0xff) >> 5);
    page.setUint32(at, (page.getUint32(at, true) | (1 << (lvtTimer & 31))) >>> 0, true);
  }

  /** Gives the timer back to the kernel, to count on from where it was. */
  goOn(): void {
    const timer = this.#stopped;
    if (!timer) return;
    this.#stopped = undefined;
    const { initialCount, expiryNs, tscDeadline } = timer;
    if (initialCount !== 0) {
      const state = { ...this.state, ...timer };
      const page = getPart(this.#native, this.#fd, 'lapic');
      page.setUint32(INITIAL_COUNT, initialCount, true);
      // One that is over already, and has not said so, says so after one more count.
      page.setUint32(CURRENT_COUNT, expiryNs === Infinity ? 0 : Math.max(1, timerCount(state, this.#now())), true);
      setPart(this.#native, this.#fd, 'lapic', page);
    }
    if (tscDeadline !== 0n) setMsr(this.#native, this.#fd, IA32_TSC_DEADLINE, tscDeadline);
  }
}

/** Puts a periodic timer that shows the very end of its period, which the kernel has not noticed yet, to the beginning of the next. */
function beginsAgain(page: DataView): boolean {
  if (!isPeriodic({ lvtTimer: page.getUint32(LVT_TIMER, true) }) || page.getUint32(CURRENT_COUNT, true) !== 0) return false;
  page.setUint32(CURRENT_COUNT, page.getUint32(INITIAL_COUNT, true), true);
  return true;
}

/** Whether the timer went off between two looks. */
function expired(before: KvmLocalApic, after: KvmLocalApic): boolean {
  const count = ({ page }: KvmLocalApic): number => page.getUint32(CURRENT_COUNT, true);
  if (before.tscDeadline !== 0n) return after.tscDeadline === 0n;
  // A periodic one begins again.
  return count(before) !== 0 && (count(after) === 0 || count(after) > count(before));
}
