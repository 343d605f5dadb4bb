// Everything that says whether the project is sound: the static checks, then all tests. Arguments go to vitest.
// Its last line counts both: `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runSteps, staticSteps } from './check.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const report = join(root, 'build/test-results.json');

/** Counts of vitest's report. A file that could not even be loaded, or an error outside of any test, is a failure. */
function counted(exitStatus) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let results = { testResults: [] };
  try {
    results = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    // No report: vitest itself broke, as its exit status says.
  }
  for (const file of results.testResults) {
    for (const { status } of file.assertionResults) {
      if (status === 'passed' || status === 'failed') counts[status]++;
      else counts.skipped++;
    }
    if (file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed')) counts.failed++;
  }
  if (exitStatus !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

const checks = runSteps(staticSteps);
mkdirSync(dirname(report), { recursive: true });
rmSync(report, { force: true });
const { status } = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: 'inherit' },
);
const tests = counted(status);
const failed = checks.failed + tests.failed;
console.log(`${checks.passed + tests.passed} passed, ${failed} failed, ${tests.skipped} skipped`);
process.exitCode = failed === 0 && status === 0 ? 0 : 1;
