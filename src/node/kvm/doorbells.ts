/** Doorbells of a machine's devices, caught by KVM: the guest rings and goes on, and the device hears of it from the event loop. */
import type { Disposable } from '../../base/disposable.ts';
import type { Bus, Mapping } from '../../machine/bus.ts';
import { EventFd, onDoorbell } from './event-fd.ts';
import type { KvmVm } from './system.ts';

/** More than any machine of ours has; KVM has a limit, too, and what is over it comes as an access. */
const MOST = 256;
const SYS_POLL = 7;
const POLLIN = 1;

/** One doorbell that KVM catches. */
interface Bell extends Disposable {
  /** Notes that it has rung, if it has. */
  take(): boolean;
  /** Of its eventfd. */
  readonly fd: number;
}

export class DoorbellWatch implements Disposable {
  readonly #vm: KvmVm;
  readonly #bus: Bus;
  readonly #wake: () => void;
  readonly #caught = new Map<Mapping, Bell[]>();
  #seen = -1;
  #rung: (() => void)[] = [];
  readonly #poll = new Int32Array(2 * MOST);
  #pollCount = 0;

  /** @param wake called from the event loop when a device is to hear of something: by `answer` */
  constructor(vm: KvmVm, bus: Bus, wake: () => void) {
    this.#vm = vm;
    this.#bus = bus;
    this.#wake = wake;
  }

  /** Follows the bus, whose mappings a guest may move. Before a guest goes on that may have done so. */
  update(): void {
    if (this.#bus.changes === this.#seen) return;
    this.#seen = this.#bus.changes;
    const mappings = new Set(this.#bus.mappings.filter(({ device }) => device.doorbells));
    for (const [mapping, parts] of this.#caught) {
      if (mappings.has(mapping)) continue;
      for (const part of parts) part.dispose();
      this.#caught.delete(mapping);
    }
    for (const mapping of mappings) if (!this.#caught.has(mapping)) this.#caught.set(mapping, this.#catch(mapping));
    // struct pollfd: descriptor, and what to look for.
    const bells = [...this.#caught.values()].flat();
    bells.forEach(({ fd }, n) => this.#poll.set([fd, POLLIN], 2 * n));
    this.#pollCount = bells.length;
  }

  #catch({ base, device }: Mapping): Bell[] {
    const { offset, stride, count, width } = device.doorbells!;
    const taken = [...this.#caught.values()].reduce((sum, parts) => sum + parts.length, 0);
    return Array.from({ length: Math.min(count, Math.max(0, MOST - taken)) }, (_, n) => {
      const at = offset + n * stride;
      const { native } = this.#vm.system;
      const event = new EventFd(native);
      const take = (): boolean => {
        if (event.take() === 0) return false;
        this.#rung.push(() => device.write(at, width, n));
        return true;
      };
      const watch = native.watch(event.fd, () => {
        if (take()) this.#wake();
      });
      const caught = onDoorbell(this.#vm, event, { address: base + at, width });
      return {
        take,
        fd: event.fd,
        dispose() {
          watch.dispose();
          caught.dispose();
          event.dispose();
        },
      };
    });
  }

  /** As `settle`, and costs next to nothing when none has rung. */
  look(): void {
    if (this.#pollCount === 0) return;
    const { native } = this.#vm.system;
    if (native.syscall(SYS_POLL, native.address(this.#poll), this.#pollCount, 0) > 0) this.settle();
  }

  /** Tells the devices also what the event loop has not heard of: for a machine that stands still. */
  settle(): void {
    for (const bells of this.#caught.values()) for (const bell of bells) bell.take();
    this.answer();
  }

  /** Tells the devices. On the machine's thread, between two steps of the machine. */
  answer(): void {
    for (const ring of this.#rung.splice(0)) ring();
  }

  dispose(): void {
    for (const parts of this.#caught.values()) for (const part of parts) part.dispose();
    this.#caught.clear();
  }
}
