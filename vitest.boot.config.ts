import { defineConfig } from 'vitest/config';

/** Also what takes too long for `npm test`: every kernel that must boot, and KVM's acceptance. */
export default defineConfig({
  test: { include: ['test/{boot,kvm}/**/*.{test,boot}.ts'], pool: 'forks', maxWorkers: 2 },
});
