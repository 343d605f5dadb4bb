import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { COMPILING_PATIENTLY, INTERPRETER } from '../accelerators.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { DIFFERENCES, type Case } from './differences.ts';
import { assemble, runHere, runInQemu } from './machine.ts';

const SHOWN = 20;

/** Operations in the order of an image's table. */
function operationsOf(image: string): string[] {
  const text = readFileSync(new URL(`${image}.S`, import.meta.url), 'utf8').replaceAll(/\/\*.*?\*\//gs, '');
  const names = [...text.slice(text.indexOf('\nops:'), text.indexOf('\nops_end:')).matchAll(/[a-z]\w*/g)].map(([name]) => name);
  return names.filter((name) => !['ops', 'long', 'word', 'start', 'operations', 'narrow_ops'].includes(name));
}

function casesOf(image: string, log: Uint32Array, words: number): Case[] {
  const operations = operationsOf(image);
  expect(log.length % words).toBe(0);
  return Array.from({ length: log.length / words }, (_, n) => {
    const all = log.subarray(n * words, (n + 1) * words);
    const [operation, level, parameter, vector, error] = all;
    return { operation: operations[operation!]!, level: level!, parameter: parameter!, vector: vector!, error: error!, words: all };
  });
}

const title = ({ operation, level, parameter }: Case): string => `${operation} at ${level} with 0x${parameter.toString(16)}`;
const outcome = ({ vector, error }: Case): string => `vector 0x${vector.toString(16)} error 0x${error.toString(16)}`;

/** Words that every case logs. */
const IMAGES: [image: string, what: string, words: number][] = [
  ['protected', 'protected mode: descriptors, gates and tasks', 116],
  ['long', 'long mode: descriptors and gates', 154],
  ['virtual', 'virtual-8086 mode', 64],
  ['real', 'real mode', 45],
];

test.for(IMAGES)(
  '%s.S: every case ends as in QEMU, but for known differences (%s)',
  { timeout: 300_000 },
  async ([image, , words], { skip }) => {
    const rom = assemble(image);
    const reference = rom && runInQemu(rom);
    if (!reference) return skip('needs gcc, ld and qemu-system-x86_64');
    expect(reference.end).toBe('exit');
    const qemu = casesOf(image, reference.log, words);
    for (const { name, make } of [INTERPRETER, COMPILING_PATIENTLY]) {
      const outcomeHere = runHere(rom, make(await compileRuntime()));
      expect(outcomeHere.end).toBe('exit');
      const here = casesOf(image, outcomeHere.log, words);
      expect(here.length).toBe(qemu.length);
      expect(here.findIndex((ours, n) => title(ours) !== title(qemu[n]!))).toBe(-1);
      const unexpected = here.flatMap((ours, n) => {
        const theirs = qemu[n]!;
        const changed = [...ours.words.keys()].filter((word) => ours.words[word] !== theirs.words[word]);
        if (changed.length === 0) return [];
        if (DIFFERENCES.some(({ images, covers }) => images.includes(image) && covers(theirs, ours))) return [];
        return [`${title(ours)}: ${outcome(ours)}, QEMU ${outcome(theirs)}, words ${changed.slice(0, 8).join(' ')}`];
      });
      expect(unexpected.slice(0, SHOWN), `${unexpected.length} of ${here.length} cases on ${name}`).toEqual([]);
    }
  },
);
