// Everything that says whether the project is sound: the static checks, then the tests. Arguments go to vitest.
import { spawnSync } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const run = (...args) => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status === 0;

const checked = run('scripts/check.mjs');
const tested = run('node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2));
process.exit(checked && tested ? 0 : 1);
