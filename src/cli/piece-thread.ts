/** A thread that gets pieces of a published state, so that a machine's thread can wait for one: see piece-waiter.ts. */
import { workerData, parentPort } from 'node:worker_threads';
import { VmError } from '../base/errors.ts';
import { sha256 } from '../base/sha256.ts';
import { NodeClock } from '../node/clock.ts';
import { NodeFetch } from '../node/fetch.ts';
import { NodeFiles } from '../node/files.ts';
import { nodeZstd } from '../node/zstd.ts';
import { fetchStretch, unpackFrame } from '../snapshots/get/frames.ts';
import { openSource } from '../snapshots/get/open-source.ts';
import { FileChunkStore } from '../storage/file-chunk-store.ts';
import type { Piece } from '../storage/packs/pack-index.ts';
import { answerFailed, answerPiece, type PieceRequest, type PieceThreadData } from './piece-protocol.ts';
import { nodeCredentials } from './node-credentials.ts';

const { place, directory } = workerData as PieceThreadData;
const files = new NodeFiles();
const environment = process.env;
const source = openSource(
  { files, fetch: new NodeFetch({ environment }), clock: new NodeClock(), registryCredentials: nodeCredentials(files, environment) },
  place,
);
const store = new FileChunkStore(files, directory);

async function get({ digest, frame, offset, sizeBytes }: Piece): Promise<{ data: Uint8Array; fetchedBytes: number }> {
  const here = (await store.has(digest)) ? await store.get(digest).catch(() => undefined) : undefined;
  if (here) return { data: here, fetchedBytes: 0 };
  const stretch = { pack: frame.pack.digest, offset: frame.offset, length: frame.length, frames: [frame] };
  const packed = (await fetchStretch(source, stretch)).get(frame)!;
  const raw = unpackFrame(source, frame, packed, await nodeZstd());
  const data = raw.subarray(offset, offset + sizeBytes);
  if ((await sha256(data)) !== digest)
    throw new VmError('bad-digest', `${source.name}: a page of memory is not what was signed for: it was damaged or changed on the way`);
  // A full disk costs only the next run its time.
  await store.put(data).catch(() => {});
  return { data, fetchedBytes: frame.length };
}

parentPort!.on('message', ({ piece, answer }: PieceRequest) => {
  get(piece).then(
    ({ data, fetchedBytes }) => answerPiece(answer, data, fetchedBytes),
    (error: unknown) => answerFailed(answer, error),
  );
});
