// The fuzzers for minutes: `npm run test:fuzz [seconds for each]`.
import { spawnSync } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const env = { ...process.env, DAYBREAK_FUZZ_SECONDS: process.argv[2] ?? '60' };
const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'test/fuzz', 'test/lockstep'], {
  cwd: root,
  stdio: 'inherit',
  env,
});
process.exit(status ?? 1);
