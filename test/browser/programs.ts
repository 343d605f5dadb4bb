/** Bare-metal programs: multiboot kernels that need no kernel and no network. */
import { makeMultiboot } from '../../src/firmware/testing/kernels.ts';

const SEED = 1;
const FACTOR = 1664525;
const SUMMAND = 1013904223;
const TURN = 7;

const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];

/** Computes a check value in `rounds` rounds, prints it on the serial port as eight letters, and ends by debug exit with 5. */
export function checkValueProgram(rounds: number): Uint8Array {
  const round = [
    ...[0x69, 0xc0, ...u32(FACTOR)], // imul $FACTOR, %eax, %eax
    ...[0x05, ...u32(SUMMAND)], // add $SUMMAND, %eax
    ...[0xc1, 0xc0, TURN], // rol $TURN, %eax
    0x49, // dec %ecx
  ];
  const letter = [
    ...[0xc1, 0xc0, 4], // rol $4, %eax
    ...[0x89, 0xc6], // mov %eax, %esi
    ...[0x24, 0x0f], // and $15, %al
    ...[0x04, 0x41], // add $'A', %al
    0xee, // out %al, %dx
    ...[0x89, 0xf0], // mov %esi, %eax
    0x49, // dec %ecx
  ];
  const back = (body: number[]): number[] => [0x75, -(body.length + 2) & 0xff]; // jnz
  return makeMultiboot(
    undefined,
    Uint8Array.from([
      ...[0xb9, ...u32(rounds)], // mov $rounds, %ecx
      ...[0xb8, ...u32(SEED)], // mov $SEED, %eax
      ...[...round, ...back(round)],
      ...[0xb9, ...u32(8)], // mov $8, %ecx
      ...[0x66, 0xba, 0xf8, 0x03], // mov $0x3f8, %dx
      ...[...letter, ...back(letter)],
      ...[0xb0, 0x05, 0xe6, 0xf4], // mov $5, %al; out %al, $0xf4
      ...[0xf4, 0xeb, 0xfd], // hlt; jmp .-1
    ]),
  );
}

/** What it prints. */
export function checkValue(rounds: number): string {
  let value = SEED;
  for (let n = 0; n < rounds; n++) {
    value = (Math.imul(value, FACTOR) + SUMMAND) | 0;
    value = (value << TURN) | (value >>> (32 - TURN));
  }
  return Array.from({ length: 8 }, (_, n) => String.fromCharCode(0x41 + ((value >>> (28 - 4 * n)) & 15))).join('');
}

/** Prints dots and never ends. */
export function endlessProgram(): Uint8Array {
  // mov $0x3f8, %dx; mov $'.', %al; out %al, %dx; jmp .-1
  return makeMultiboot(undefined, Uint8Array.of(0x66, 0xba, 0xf8, 0x03, 0xb0, 0x2e, 0xee, 0xeb, 0xfd));
}
