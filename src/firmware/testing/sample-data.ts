import { seededRandom } from '../../machine/testing/random.ts';

/**
 * Bytes somewhat like a program: repeats near and far, runs, and branch opcodes in clusters, which is where the x86
 * filter is hard. The packed samples were made from exactly these.
 */
export function sampleData(length = 6000): Uint8Array {
  const random = seededRandom(42);
  const out: number[] = [];
  const put = (byte: number): void => void out.push(byte);
  while (out.length < length) {
    const choice = random(10);
    if (choice < 3 && out.length > 100) {
      const distance = 1 + random(out.length);
      for (let left = 4 + random(60); left > 0; left--) put(out.at(-distance)!);
    } else if (choice < 4) {
      const byte = random(256);
      for (let left = random(300); left > 0; left--) put(byte);
    } else if (choice < 7) {
      for (let left = 1 + random(4); left > 0; left--) put(0xe8 + random(2));
      put(random(256));
      put(random(4));
      put(random(2) * 0xff);
      put(random(2) * 0xff);
    } else {
      for (let left = random(20); left > 0; left--) put(0x40 + random(16));
    }
  }
  return Uint8Array.from(out.slice(0, length));
}
