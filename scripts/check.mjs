// Everything that can be checked without running the machine, in the order of how fast it fails.
import { spawnSync } from 'node:child_process';

const steps = [
  ['format', 'oxfmt', '--check', '.'],
  ['lint', 'oxlint', '--deny-warnings'],
  ['types: core', 'tsc', '-p', 'tsconfig.json'],
  ['types: node and tests', 'tsc', '-p', 'tsconfig.node.json'],
  ['dead code', 'knip'],
];
let failed = false;
for (const [name, tool, ...args] of steps) {
  const { status, stdout, stderr } = spawnSync(`node_modules/.bin/${tool}`, args, { encoding: 'utf8' });
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'}  ${name}`);
  if (status !== 0) {
    failed = true;
    console.log(stdout + stderr);
  }
}
process.exit(failed ? 1 : 0);
