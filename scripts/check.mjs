// Everything that can be checked without running the whole machine, in the order of how fast it fails.
//   --static  without the unit tests
import { spawnSync } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** What each step runs: a program of a package, by its script, so that no shell and no PATH is needed. */
const STEPS = [
  ['format', 'oxfmt/bin/oxfmt', '--check', '.'],
  ['lint', 'oxlint/bin/oxlint', '--deny-warnings'],
  ['types: core', 'typescript/bin/tsc', '-p', 'tsconfig.json'],
  ['types: page', 'typescript/bin/tsc', '-p', 'tsconfig.web.json'],
  ['types: node and tests', 'typescript/bin/tsc', '-p', 'tsconfig.node.json'],
  ['dead code', 'knip/bin/knip.js'],
];
/** Tests that need nothing but this process: chips, formats, rules of the house. */
const UNIT_TESTS = ['unit tests', 'vitest/vitest.mjs', 'run', 'src', 'test/style'];

/** Runs steps one after the other, saying how each ended; answers how many passed and failed. */
export function runSteps(steps) {
  let failed = 0;
  for (const [name, script, ...args] of steps) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules', script), ...args], {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    });
    console.log(`${status === 0 ? 'ok  ' : 'FAIL'}  ${name}`);
    if (status === 0) continue;
    failed++;
    console.log(stdout + stderr);
  }
  return { passed: steps.length - failed, failed };
}

export const staticSteps = STEPS;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { failed } = runSteps(process.argv.includes('--static') ? STEPS : [...STEPS, UNIT_TESTS]);
  process.exit(failed === 0 ? 0 : 1);
}
