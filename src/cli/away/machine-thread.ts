/**
 * The thread of a machine whose memory is not all here: it stands still while a page is fetched, and the other thread does not. See
 * away-machine.ts, which is that thread's side.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { NodeFiles } from '../../node/files.ts';
import { PieceSource } from '../../snapshots/get/published-state.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import { decodeTree } from '../../storage/tree-text.ts';
import { readSymbols } from '../compiler-watch.ts';
import { startMachine, type RunningMachine } from '../machine.ts';
import { awaitAnswer, newAnswer } from './page-answer.ts';
import { Pending, plainEnd, plainError, type FromMachine, type ThreadData, type ToMachine } from './protocol.ts';

const port = parentPort!;
const send = (message: FromMachine): void => port.postMessage(message, []);
const pending = new Pending();

/** The other thread's. */
const contents: ChunkStore = {
  has: async () => true,
  get: (digest) => pending.ask((id) => send({ kind: 'content', id, digest })),
  put: (data) => pending.ask((id) => send({ kind: 'put', id, data })),
};

async function start({ options, root, state, watched, symbolsPath }: ThreadData): Promise<void> {
  const tree = decodeTree(state.name, root.treeText, root.treeDigest);
  const fileSystem = new TreeFileSystem(tree, contents);
  const symbols = symbolsPath === undefined ? undefined : await readSymbols(new NodeFiles(), symbolsPath);
  const source = new PieceSource(state, (piece) => {
    const answer = newAnswer(piece.sizeBytes);
    send({ kind: 'page', piece, answer });
    return awaitAnswer(answer);
  });
  const machine = await startMachine({
    ...options,
    restore: { source, onlyAsked: true },
    fileSystems: [{ tag: root.tag, backend: fileSystem }],
    ...(watched && {
      compilerObserver: {
        onEvent: (event) => send({ kind: 'compiler', event }),
        ...(symbols && { nameOf: (linear) => symbols.nameOf(linear) }),
      },
    }),
    output: (data) => send({ kind: 'output', data: data.slice() }),
    log: (level, component, message) => send({ kind: 'log', level, component, message }),
  });
  send({ kind: 'started', accelerator: machine.accelerator, memoryBytes: machine.memoryBytes });
  port.on('message', (message: ToMachine) => take(message, machine, fileSystem));
  void machine.ended.then((end) => send({ kind: 'ended', end: plainEnd(end), stats: machine.stats() }));
}

function take(message: ToMachine, machine: RunningMachine, fileSystem: TreeFileSystem): void {
  const answer = (id: number, work: Promise<unknown>): void =>
    void work.then(
      (value) => send({ kind: 'answer', id, value }),
      (error: unknown) => send({ kind: 'refuse', id, error: plainError(error) }),
    );
  switch (message.do) {
    case 'input':
      return answer(message.id, machine.input(message.data));
    case 'resize':
      return machine.resize(message.size);
    case 'stop':
      return machine.stop();
    case 'press':
      return answer(message.id, machine.pressPowerButton());
    case 'save':
      return answer(message.id, machine.save(message.path, message.ends ? 'end' : 'go on'));
    case 'seal':
      return answer(
        message.id,
        fileSystem.seal(contents).then((tree) => tree.encode()),
      );
    case 'answer':
      return pending.answer(message.id, message.value);
    case 'refuse':
      return pending.refuse(message.id, message.error);
  }
}

start(workerData as ThreadData).catch((error: unknown) => send({ kind: 'failed', error: plainError(error) }));
