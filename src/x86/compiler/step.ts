/** A decoded instruction as the compiler sees it: its record taken apart. */
import type { Variant } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import type { State } from '../state.ts';

export interface Step {
  readonly record: number;
  readonly variant: Variant;
  /** Of its first byte, from the base of the region's first page; it may lie on another page. */
  readonly at: number;
  readonly length: number;
  readonly reg: number;
  readonly rm: number;
  readonly index: number;
  readonly third: number;
  readonly scale: number;
  readonly segment: number;
  readonly flags: number;
  readonly displacement: number;
  readonly immediate: bigint;
}

/** @param page offset of the record's page from the region's first one, in bytes */
export function readStep(state: State, record: number, variant: Variant, page: number): Step {
  const { view } = state;
  return {
    record,
    variant,
    at: page + view.getUint16(record + L.R_OFFSET, true),
    length: view.getUint8(record + L.R_LENGTH),
    reg: view.getUint16(record + L.R_REG, true),
    rm: view.getUint16(record + L.R_RM, true),
    index: view.getUint16(record + L.R_INDEX, true),
    third: view.getUint16(record + L.R_VVVV, true),
    scale: view.getUint8(record + L.R_SCALE),
    segment: view.getUint8(record + L.R_SEGMENT),
    flags: view.getUint8(record + L.R_FLAGS),
    displacement: view.getInt32(record + L.R_DISP, true),
    immediate: view.getBigInt64(record + L.R_IMM, true),
  };
}
