/**
 * The x87 register stack: tags, sticky flags, stack faults and responses to unmasked exceptions. Intel SDM vol. 1, chapter 8.
 *
 * Nothing here faults: an unmasked exception sets ES, which the next waiting instruction finds.
 */
import * as L from './layout';
import { C0, C2, C3, put } from './softfloat80';
import { C1, DE, IE, ZE } from './unpacked';

/** Stack fault. */
export const SF = 0x40;
/** Error summary, and its copy in the busy bit. */
export const ES_B = 0x8080;
export const CONDITIONS = C0 | C1 | C2 | C3;
/** Exceptions that are found before anything is computed: unmasked, they leave operands and stack alone. */
export const BEFORE = IE | DE | ZE;

// @ts-ignore: decorator
@inline
export function slot(register: i32): i32 {
  return L.X87 + (register << 4);
}

// @ts-ignore: decorator
@inline
export function isValid(register: i32): bool {
  return ((load<i32>(L.FTAG) >> register) & 1) != 0;
}

// @ts-ignore: decorator
@inline
export function copy(to: i32, from: i32): void {
  v128.store(to, v128.load(from));
}

export function setIndefinite(register: i32): void {
  put(slot(register), 1, 0x7fff, 0xc000000000000000);
  store<i32>(L.FTAG, load<i32>(L.FTAG) | (1 << register));
}

// @ts-ignore: decorator
@inline
export function pop(): void {
  const top = load<i32>(L.FTOP);
  store<i32>(L.FTAG, load<i32>(L.FTAG) & ~(1 << top));
  store<i32>(L.FTOP, (top + 1) & 7);
}

/** Adds flags to the status word, replacing the condition codes in `replaced`, and finds out whether ES is due. */
// @ts-ignore: decorator
@inline
export function account(flags: i32, replaced: i32, control: i32): void {
  let status = (load<i32>(L.FSW) & ~replaced) | flags;
  if (flags & ~control & 0x3f) status |= ES_B;
  store<i32>(L.FSW, status);
}

/** Accounts for a stack underflow; whether IE is masked, so that the indefinite goes where the result would. */
export function underflow(): bool {
  const control = load<i32>(L.FCW);
  account(IE | SF, C1, control);
  return (control & IE) != 0;
}

/** The register that a push will make the top; or -1 when the stack overflowed, and then all has been done. */
// @ts-ignore: decorator
@inline
export function pushRegister(): i32 {
  const register = (load<i32>(L.FTOP) - 1) & 7;
  if (isValid(register)) {
    overflow(register);
    return -1;
  }
  return register;
}

export function overflow(register: i32): void {
  const control = load<i32>(L.FCW);
  account(IE | SF | C1, C1, control);
  if (control & IE) {
    setIndefinite(register);
    store<i32>(L.FTOP, register);
  }
}

/** Ends a push whose value is in place. An unmasked denormal exception does not keep a load from completing. */
// @ts-ignore: decorator
@inline
export function pushed(register: i32, flags: i32): void {
  const control = load<i32>(L.FCW);
  account(flags, C1, control);
  if (flags & ~control & (IE | ZE)) return;
  store<i32>(L.FTAG, load<i32>(L.FTAG) | (1 << register));
  store<i32>(L.FTOP, register);
}

export function pushIndefinite(): void {
  const register = (load<i32>(L.FTOP) - 1) & 7;
  setIndefinite(register);
  store<i32>(L.FTOP, register);
}
