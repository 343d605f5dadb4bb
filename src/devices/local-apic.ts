/** Local APIC with xAPIC (MMIO) and x2APIC (MSR) faces. SDM vol. 3, chapter 11. */
import { destination8 } from '../machine/apic.ts';
import type { BusDevice, Width } from '../machine/bus.ts';
import { ApicCore } from './apic-core.ts';
import { APR, DFR, EOI, ICR_HIGH, ICR_LOW, ICR_WRITABLE, LDR, LVT_ERROR, LVT_READ_ONLY, LVT_TIMER } from './apic-registers.ts';
import { RRD, SELF_IPI, WRITABLE } from './apic-registers.ts';

const IA32_APIC_BASE = 0x1b;
const IA32_TSC_DEADLINE = 0x6e0;
const X2APIC_FIRST = 0x800;
const X2APIC_LAST = 0x83f;

const BASE_BSP = 1 << 8;
const BASE_EXTD = 1 << 10;
const BASE_ENABLE = 1 << 11;
export const APIC_MMIO_SIZE = 0x1000;

export class LocalApic extends ApicCore implements BusDevice {
  override sync(): void {
    super.sync();
    this.outputs.moved?.(this.#mmioBase);
  }

  read(offset: number, width: Width): number {
    const { state } = this;
    if (!state.enabled || state.x2apic) return 2 ** (8 * width) - 1;
    if (offset >= 0x400 || (offset & 0xf) + width > 4) return 0;
    const value = this.readRegister(offset >> 4) ?? this.illegalRegister();
    return width === 4 ? value : ((value >>> (8 * (offset & 3))) & (2 ** (8 * width) - 1)) >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    const { state } = this;
    // Only aligned 32-bit accesses are defined. SDM vol. 3, 11.4.1.
    if (!state.enabled || state.x2apic || width !== 4 || offset & 0xf || offset >= 0x400) return;
    const register = offset >> 4;
    if (register === ICR_HIGH) state.icrHigh = (value & 0xff00_0000) >>> 0;
    else if (register === LDR) state.ldr = (value & 0xff00_0000) >>> 0;
    else if (register === DFR) state.dfr = (value | 0x0fff_ffff) >>> 0;
    else if (register === ICR_LOW) this.sendIpi(value & ICR_WRITABLE, destination8(state.icrHigh >>> 24));
    else if (register in WRITABLE && register !== SELF_IPI) this.writeRegister(register, (value & (WRITABLE[register] ?? 0)) >>> 0, value);
    else if (this.readRegister(register) === undefined) this.illegalRegister();
  }

  readMsr(index: number): bigint | undefined {
    const { state } = this;
    if (index === IA32_TSC_DEADLINE) return this.timer.tscDeadline;
    if (index === IA32_APIC_BASE) {
      const flags = (this.id === 0 ? BASE_BSP : 0) | (state.x2apic ? BASE_EXTD : 0) | (state.enabled ? BASE_ENABLE : 0);
      return BigInt(state.base + flags);
    }
    if (!state.x2apic || index < X2APIC_FIRST || index > X2APIC_LAST) return undefined;
    const register = index - X2APIC_FIRST;
    if (register === ICR_LOW) return (BigInt(state.icrHigh) << 32n) | BigInt(state.icrLow);
    if (register === ICR_HIGH || register === DFR || register === APR || register === RRD) return undefined;
    const value = this.readRegister(register);
    return value === undefined || register === EOI ? undefined : BigInt(value >>> 0);
  }

  writeMsr(index: number, value: bigint): boolean {
    const { state } = this;
    if (index === IA32_TSC_DEADLINE) {
      this.timer.writeTscDeadline(value);
      return true;
    }
    if (index === IA32_APIC_BASE) return this.#writeBase(Number(value));
    if (!state.x2apic || index < X2APIC_FIRST || index > X2APIC_LAST) return false;
    const register = index - X2APIC_FIRST;
    const low = Number(value & 0xffff_ffffn);
    if (register === ICR_LOW) {
      if (low & ~ICR_WRITABLE) return false;
      state.icrHigh = Number(value >> 32n);
      this.sendIpi(low, state.icrHigh);
      return true;
    }
    const writable = WRITABLE[register];
    const ignored = register >= LVT_TIMER && register <= LVT_ERROR ? LVT_READ_ONLY : 0;
    if (writable === undefined || value > 0xffff_ffffn || low & ~(writable | ignored)) return false;
    this.writeRegister(register, (low & writable) >>> 0, low);
    return true;
  }

  get #mmioBase(): number | undefined {
    return this.state.enabled && !this.state.x2apic ? this.state.base : undefined;
  }

  #writeBase(value: number): boolean {
    const { state } = this;
    const enabled = (value & BASE_ENABLE) !== 0;
    const x2apic = (value & BASE_EXTD) !== 0;
    // Transitions: SDM vol. 3, 11.12.5. From x2APIC the only way leads to disabled, and into it only from xAPIC.
    if (value >= 2 ** 52 || value & 0x2ff || (x2apic && !enabled)) return false;
    if ((state.x2apic && enabled && !x2apic) || (!state.enabled && x2apic)) return false;
    if (state.enabled && !enabled) {
      const { lint } = state;
      Object.assign(state, this.schema.create(), { lint });
    }
    state.base = value - (value % 0x1000);
    state.enabled = enabled;
    state.x2apic = x2apic;
    this.timer.arm();
    this.update();
    this.outputs.moved?.(this.#mmioBase);
    return true;
  }
}
