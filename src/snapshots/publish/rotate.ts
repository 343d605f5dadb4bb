/** Changes of keys, and of lists without a new day. */
import { VmError } from '../../base/errors.ts';
import type { Role } from '../trust/metadata.ts';
import { makeRoot } from '../trust/signing.ts';
import type { KeyDirectory } from './keyring.ts';
import { PublishingLock, type LockHost } from './lock.ts';
import { Repository } from './repository.ts';
import type { Storage } from './storage.ts';

/**
 * Gives a role a new key; readers follow when they look the next time. Needs the root's key. Rejects with a VmError; what was interrupted
 * is finished by whoever publishes there next, or by the next call for the same role.
 */
export async function rotateKey(storage: Storage, keys: KeyDirectory, host: LockHost, role: Role): Promise<void> {
  await locked(storage, host, async (repository) => {
    if ((await repository.finishChanges(keys)).includes(role)) return;
    const root = await keys.load('root');
    if (!root || !repository.names('root', root.id))
      throw new VmError(
        'not-found',
        `${keys.directory}: the root key that ${storage.name} was published with is needed to change keys: put root.json there`,
      );
    const ring = await repository.ringOf(keys);
    const next = await keys.prepare(role);
    // Both keys sign first, so that the lists are right for readers of the old root and of the new one.
    await repository.commit(repository.targets, { ...ring, also: { [role]: next } }, host.clock.nowMs());
    await repository.commitRoot(await makeRoot({ ...ring, root, [role]: next }, host.clock.nowMs(), { root: repository.root, key: root }));
    await keys.replace(role);
  });
}

/** Signs what is published for another while; the root too, when its time comes to an end and its key is here. */
export async function renew(storage: Storage, keys: KeyDirectory, host: LockHost): Promise<void> {
  await locked(storage, host, async (repository) => {
    const ring = await repository.ringOf(keys);
    if (ring.root && repository.names('root', ring.root.id) && Date.parse(repository.root.expires) - host.clock.nowMs() < 90 * 86_400_000)
      await repository.commitRoot(await makeRoot(ring, host.clock.nowMs(), { root: repository.root, key: ring.root }));
    await repository.commit(repository.targets, ring, host.clock.nowMs());
  });
}

async function locked(storage: Storage, host: LockHost, work: (repository: Repository) => Promise<void>): Promise<void> {
  const lock = await PublishingLock.take(storage, host);
  try {
    const repository = await Repository.open(storage);
    if (!repository) throw new VmError('not-found', `${storage.name}: nothing is published there`);
    await work(repository);
  } finally {
    await lock.release();
  }
}
