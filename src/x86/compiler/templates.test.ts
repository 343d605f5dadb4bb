import { describe, expect, test } from 'vitest';
import { Variants } from '../interpreter/variants.ts';
import * as C from '../runtime/compile/codes.ts';
import * as L from '../runtime/layout.ts';
import { State } from '../state.ts';
import { Templates } from './templates.ts';

const variants = new Variants();
const end = L.H_FIRST + variants.all.length;
const mnemonicOf = (handler: number): string | undefined => variants.all[handler - L.H_FIRST]?.encoding.row.mnemonic;

function everything(): { state: State; templates: Templates; shape(handler: number): number } {
  const state = new State(new ArrayBuffer(L.RAM));
  const templates = new Templates(state, (handler) => variants.all[handler - L.H_FIRST]);
  for (let handler = 0; handler < end; handler++) templates.learn(handler);
  return { state, templates, shape: (handler) => state.u32(L.COMPILE_SHAPES + handler * 4) };
}

describe('templates', () => {
  const { state, templates, shape } = everything();
  const handlers = Array.from({ length: end }, (_, handler) => handler);
  const nameAll = (value: number): Set<string | undefined> =>
    new Set(handlers.filter((handler) => shape(handler) === value).map(mnemonicOf));

  test('of all shapes have room at once', () => {
    expect(end).toBeLessThan(L.COMPILE_SHAPE_COUNT);
    // What there was no room for would be interpreted.
    expect(nameAll(C.SHAPE_INTERPRETED)).not.toContain('vpaddq');
    expect(handlers.filter((handler) => shape(handler) >= L.COMPILE_TEMPLATES).length).toBeGreaterThan(4000);
    expect(shape(end)).toBe(C.SHAPE_UNKNOWN);
  });

  test('leave to the interpreter what has no template, and say whether execution goes on behind it', () => {
    expect(nameAll(C.SHAPE_INTERPRETED)).toContain('cpuid');
    expect(nameAll(C.SHAPE_ENDS)).toContain('iret');
    expect(shape(L.H_END)).toBe(C.SHAPE_NONE);
  });

  test('that depend on the immediate’s low byte are one for each byte, as many as there is room for', () => {
    const handler = handlers.find((each) => mnemonicOf(each) === 'pshufd')!;
    expect(shape(handler)).toBe(C.SHAPE_BY_BYTE);
    const first = handlers.filter((each) => shape(each) === C.SHAPE_BY_BYTE).length;
    for (let byte = 1; byte < 256; byte++) templates.learn(handler | (byte << 16));
    const entries = Array.from({ length: first + 255 }, (_, n) => L.COMPILE_BYTE_SHAPES + n * 8);
    const addresses = new Set(entries.map((at) => state.u32(at + 4)));
    expect(addresses.size).toBe(first + 255);
    expect(shape(handler)).toBe(C.SHAPE_BY_BYTE);
    for (let n = 0; n < L.COMPILE_BYTE_SHAPE_COUNT; n++) templates.learn(handler | (((n & 0xff) + 1) << 16));
    expect(shape(handler)).toBe(C.SHAPE_INTERPRETED);
  });
});
