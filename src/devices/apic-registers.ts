/** Register numbers and bits of the local APIC. SDM vol. 3, tables 11-1 and 11-6. */

/** Register numbers: the MMIO offset divided by 16, and the x2APIC MSR less 0x800. */
export const ID = 0x02;
export const VERSION = 0x03;
export const TPR = 0x08;
export const APR = 0x09;
export const PPR = 0x0a;
export const EOI = 0x0b;
export const RRD = 0x0c;
export const LDR = 0x0d;
export const DFR = 0x0e;
export const SVR = 0x0f;
export const ISR = 0x10;
export const TMR = 0x18;
export const IRR = 0x20;
export const ESR = 0x28;
export const ICR_LOW = 0x30;
export const ICR_HIGH = 0x31;
export const LVT_TIMER = 0x32;
export const LVT_THERMAL = 0x33;
const LVT_PERFORMANCE = 0x34;
export const LVT_LINT0 = 0x35;
export const LVT_LINT1 = 0x36;
export const LVT_ERROR = 0x37;
export const INITIAL_COUNT = 0x38;
export const CURRENT_COUNT = 0x39;
export const DIVIDE = 0x3e;
export const SELF_IPI = 0x3f;

/** Integrated APIC, six LVT entries, EOI broadcasts can be suppressed. */
export const VERSION_VALUE = 0x0105_0014;
export const SVR_ENABLE = 1 << 8;
export const SVR_NO_EOI_BROADCAST = 1 << 12;
export const LVT_LEVEL = 1 << 15;
export const LVT_REMOTE_IRR = 1 << 14;
export const ESR_SEND_ILLEGAL = 1 << 5;
export const ESR_RECEIVE_ILLEGAL = 1 << 6;
export const ESR_ILLEGAL_REGISTER = 1 << 7;

/** What may be written: other bits are reserved or read-only. */
export const WRITABLE: Readonly<Record<number, number>> = {
  [TPR]: 0xff,
  [EOI]: 0,
  [SVR]: 0x11ff,
  [ESR]: 0,
  [LVT_TIMER]: 0x7_00ff,
  [LVT_THERMAL]: 0x1_07ff,
  [LVT_PERFORMANCE]: 0x1_07ff,
  [LVT_LINT0]: 0x1_a7ff,
  [LVT_LINT1]: 0x1_a7ff,
  [LVT_ERROR]: 0x1_00ff,
  [INITIAL_COUNT]: 0xffff_ffff,
  [DIVIDE]: 0x0b,
  [SELF_IPI]: 0xff,
};
export const ICR_WRITABLE = 0x000c_cfff;
/** Delivery status and remote IRR: what software writes there is ignored, also in x2APIC mode. SDM vol. 3, figure 11-8. */
export const LVT_READ_ONLY = (1 << 12) | LVT_REMOTE_IRR;
