import { defineConfig } from 'vitest/config';

/** Every kernel that must boot, also those that take too long for `npm test`. */
export default defineConfig({
  test: { include: ['test/boot/**/*.{test,boot}.ts'], pool: 'forks', maxWorkers: 2 },
});
