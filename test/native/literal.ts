/** Short ways to write parts of cases in tests; compare.ts prints cases in them. */
import { initialFp } from './case.ts';
import { DATA_SIZE } from './layout.ts';

export const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;

/** Bytes from hexadecimal digits; white space is ignored. */
export function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
}

/** All registers; those not named are 0. */
export function gprs(values: Partial<Record<(typeof GPR_NAMES)[number], bigint>>): BigUint64Array {
  return BigUint64Array.from(GPR_NAMES, (name) => values[name] ?? 0n);
}

function filled(target: Uint8Array, ranges: Readonly<Record<number, string>>): Uint8Array {
  for (const [at, hex] of Object.entries(ranges)) target.set(bytes(hex), Number(at));
  return target;
}

/** The initial FP state with some bytes replaced, by offset. */
export function fp(ranges: Readonly<Record<number, string>>): Uint8Array {
  return filled(initialFp(), ranges);
}

/** A zero data window with some bytes replaced, by offset. */
export function image(ranges: Readonly<Record<number, string>>): Uint8Array {
  return filled(new Uint8Array(DATA_SIZE), ranges);
}
