/**
 * The state of a PC's 8259As and I/O APIC, to and from KVM's structures: struct kvm_pic_state and kvm_ioapic_state.
 * What a guest can observe is the same on both sides. KVM's 8259A has no single mode (ICW1.SNGL), and of ICW4 it keeps
 * what makes a difference in a PC; both come back as a PC's own.
 */
import { i8259State, IOAPIC_PINS, ioapicState, type I8259State, type IoApicState } from '../../machine/interrupt-state.ts';

const ICW1_IC4 = 1 << 0;
const ICW1_LTIM = 1 << 3;
const ICW1 = 1 << 4;
const ICW4_8086 = 1 << 0;
const ICW4_AEOI = 1 << 1;
const ICW4_SFNM = 1 << 4;
const CASCADE = 1 << 2;

// struct kvm_pic_state: bytes.
const LAST_IRR = 0;
const IRR = 1;
const IMR = 2;
const ISR = 3;
const PRIORITY_ADD = 4;
const IRQ_BASE = 5;
const READ_REG_SELECT = 6;
const POLL = 7;
const SPECIAL_MASK = 8;
const INIT_STATE = 9;
const AUTO_EOI = 10;
const ROTATE_ON_AUTO_EOI = 11;
const SPECIAL_FULLY_NESTED_MODE = 12;
const INIT4 = 13;
const ELCR = 14;
const ELCR_MASK = 15;

/** What of a state KVM can keep: the form in which it comes back. */
export function picAsKept(state: I8259State, master: boolean): I8259State {
  const { icw1, icw4, step, elcr, inputs } = state;
  return {
    ...state,
    elcr: icw1 & ICW1_LTIM ? 0xff : elcr,
    // The slave's output is told to the master as edges, which its IRR keeps; its level is driven again by the slave.
    inputs: master ? inputs & ~CASCADE : inputs,
    icw1: icw1 & ICW1_IC4 ? ICW1 | ICW1_IC4 : 0,
    icw4: (icw4 & (ICW4_AEOI | ICW4_SFNM)) | (icw1 & ICW1_IC4 && step === 0 ? ICW4_8086 : 0),
  };
}

export function picToKvm(data: DataView, from: I8259State, master: boolean): void {
  const state = picAsKept(from, master);
  const put = (at: number, value: number | boolean): void => data.setUint8(at, Number(value));
  put(LAST_IRR, state.inputs);
  put(IRR, state.irr);
  put(IMR, state.imr);
  put(ISR, state.isr);
  put(PRIORITY_ADD, state.highest & 7);
  put(IRQ_BASE, state.vectorBase);
  put(READ_REG_SELECT, state.readIsr);
  put(POLL, state.poll);
  put(SPECIAL_MASK, state.specialMask);
  put(INIT_STATE, state.step & 3);
  put(AUTO_EOI, (state.icw4 & ICW4_AEOI) !== 0);
  put(ROTATE_ON_AUTO_EOI, state.rotateOnAutoEoi);
  put(SPECIAL_FULLY_NESTED_MODE, (state.icw4 & ICW4_SFNM) !== 0);
  put(INIT4, (state.icw1 & ICW1_IC4) !== 0);
  put(ELCR, state.elcr);
  put(ELCR_MASK, master ? 0xf8 : 0xde);
}

export function picFromKvm(data: DataView, master: boolean): I8259State {
  const get = (at: number): number => data.getUint8(at);
  return picAsKept(
    {
      ...i8259State.create(),
      inputs: get(LAST_IRR),
      irr: get(IRR),
      imr: get(IMR),
      isr: get(ISR),
      highest: get(PRIORITY_ADD),
      vectorBase: get(IRQ_BASE),
      readIsr: get(READ_REG_SELECT) !== 0,
      poll: get(POLL) !== 0,
      specialMask: get(SPECIAL_MASK) !== 0,
      step: get(INIT_STATE),
      rotateOnAutoEoi: get(ROTATE_ON_AUTO_EOI) !== 0,
      icw1: get(INIT4) ? ICW1_IC4 : 0,
      icw4: (get(AUTO_EOI) ? ICW4_AEOI : 0) | (get(SPECIAL_FULLY_NESTED_MODE) ? ICW4_SFNM : 0),
      elcr: get(ELCR),
    },
    master,
  );
}

// struct kvm_ioapic_state
const IOAPIC_BASE = 0xfec0_0000;
const SELECT = 8;
const IOAPIC_ID = 12;
const IOAPIC_IRR = 16;
const REDIRECTION = 24;
const ID_SHIFT = 24;
const TRIGGER_LEVEL = 1 << 15;

/** A high pin that is edge-triggered has sent its message: KVM is not told of it, since it would send another. */
export function ioApicToKvm(data: DataView, state: IoApicState): void {
  data.setUint32(0, IOAPIC_BASE, true);
  data.setUint32(4, 0, true);
  data.setUint32(SELECT, state.select, true);
  data.setUint32(IOAPIC_ID, (state.id >>> ID_SHIFT) & 15, true);
  let high = 0;
  state.pins.forEach(({ low, high: upper, level }, pin) => {
    if (level && low & TRIGGER_LEVEL) high |= 1 << pin;
    data.setUint32(REDIRECTION + 8 * pin, low, true);
    data.setUint32(REDIRECTION + 8 * pin + 4, upper, true);
  });
  data.setUint32(IOAPIC_IRR, high, true);
}

/** @param levels of the pins, which whoever drives them knows */
export function ioApicFromKvm(data: DataView, levels: readonly boolean[]): IoApicState {
  return {
    ...ioapicState.create(),
    select: data.getUint32(SELECT, true) & 0xff,
    id: (data.getUint32(IOAPIC_ID, true) & 15) * 2 ** ID_SHIFT,
    pins: Array.from({ length: IOAPIC_PINS }, (_, pin) => ({
      low: data.getUint32(REDIRECTION + 8 * pin, true),
      high: data.getUint32(REDIRECTION + 8 * pin + 4, true),
      level: levels[pin] ?? false,
    })),
  };
}
