import { describe, expect, test } from 'vitest';
import type { BusDevice, Width } from '../bus.ts';
import { resetDevice, restoreDevice, saveDevice } from '../device.ts';
import type { Device } from '../device.ts';
import { TestClock } from './clock.ts';
import { seededRandom } from './random.ts';
import type { RecordingLine } from './recorders.ts';

/** A device on the bench. */
export interface Subject {
  readonly device: Device;
  /** Changes the state through the device's own faces, as a guest or its backends would; with pending work at the end. */
  disturb(): void;
  /** Faces towards a bus, with the size of each; they get random traffic. */
  readonly faces?: readonly { readonly face: BusDevice; readonly size: number }[];
  /** Outputs whose level follows from the state alone. */
  readonly lines?: readonly RecordingLine[];
  /** The clock that the device was made with, so that the suite can let time pass. */
  readonly clock?: TestClock;
}

const WIDTHS: readonly Width[] = [1, 2, 4];

function fuzz(subject: Subject, seed: number, rounds: number): void {
  const random = seededRandom(seed);
  const faces = subject.faces ?? [];
  if (faces.length === 0) return;
  for (let i = 0; i < rounds; i++) {
    const { face, size } = faces[random(faces.length)]!;
    const width = WIDTHS[random(3)]!;
    const offset = random(size);
    if (random(2) === 0) face.write(offset, width, random(2 ** (8 * width)));
    else {
      const value = face.read(offset, width) >>> 0;
      if (value >= 2 ** (8 * width)) expect.fail(`read of ${width} bytes at 0x${offset.toString(16)} gave 0x${value.toString(16)}`);
    }
    if (random(16) === 0) subject.clock?.advance(random(1_000_000));
  }
}

/** Long byte arrays as text, which is compared many times faster. */
function comparable(data: unknown): unknown {
  if (data instanceof Uint8Array) return `bytes ${data.join(' ')}`;
  if (Array.isArray(data)) return data.map(comparable);
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, comparable(value)]));
}

const saved = (device: Device): unknown => comparable(saveDevice(device));

const levels = (subject: Subject): boolean[] => (subject.lines ?? []).map((line) => line.level);

/** What every device must do: save, be disturbed, restore and compare; refuse damaged states; survive any traffic. */
export function deviceSuite(name: string, factory: () => Subject): void {
  describe(`${name} as a device`, () => {
    test('starts with the reset values of its schema', () => {
      const { device } = factory();
      expect(saved(device)).toEqual(comparable(device.schema.save(device.schema.create())));
    });

    test('comes back to a saved state after being disturbed', () => {
      const subject = factory();
      const { device } = subject;
      const before = saveDevice(device);
      const copy = comparable(before);
      subject.disturb();
      expect(saved(device), 'disturb() must change the state').not.toEqual(copy);
      expect(comparable(before), 'a saved state must not change with the device').toEqual(copy);
      restoreDevice(device, before);
      expect(saved(device)).toEqual(copy);
    });

    test('restores into a new device, with the same output levels', () => {
      const from = factory();
      from.disturb();
      const data = saveDevice(from.device);
      const to = factory();
      to.clock?.advance(from.clock ? from.clock.now() - to.clock.now() : 0);
      restoreDevice(to.device, data);
      expect(saved(to.device)).toEqual(comparable(data));
      expect(levels(to)).toEqual(levels(from));
    });

    test('drives its outputs again without changing its state', () => {
      const subject = factory();
      subject.disturb();
      const state = saved(subject.device);
      const before = levels(subject);
      const rises = subject.lines?.map((line) => line.rises);
      subject.device.sync();
      subject.device.sync();
      expect(saved(subject.device)).toEqual(state);
      expect(levels(subject)).toEqual(before);
      expect(
        subject.lines?.map((line) => line.rises),
        'sync() must not invent edges',
      ).toEqual(rises);
    });

    test('a reset gives the reset values again', () => {
      const subject = factory();
      const fresh = factory();
      subject.disturb();
      resetDevice(subject.device);
      expect(saved(subject.device)).toEqual(saved(fresh.device));
    });

    test('refuses a state that does not fit, and keeps the old one', () => {
      const subject = factory();
      subject.disturb();
      const { device } = subject;
      const data = saveDevice(device) as Record<string, unknown>;
      const before = comparable(data);
      const missing = Object.fromEntries(Object.entries(data).slice(1));
      for (const damaged of [undefined, 7, { ...data, unheardOf: 1 }, ...(Object.keys(data).length > 0 ? [missing] : [])]) {
        expect(() => restoreDevice(device, damaged)).toThrowError(expect.objectContaining({ code: 'bad-state' }) as Error);
        expect(saved(device)).toEqual(before);
      }
    });

    test('survives random traffic with a state that can be saved and restored', () => {
      for (let seed = 1; seed <= 8; seed++) {
        const subject = factory();
        fuzz(subject, seed, 2000);
        const data = saveDevice(subject.device);
        expect(comparable(subject.device.schema.save(subject.device.schema.load(data)))).toEqual(comparable(data));
        const to = factory();
        to.clock?.advance(subject.clock ? subject.clock.now() - to.clock.now() : 0);
        restoreDevice(to.device, data);
        expect(levels(to)).toEqual(levels(subject));
      }
    });
  });
}
