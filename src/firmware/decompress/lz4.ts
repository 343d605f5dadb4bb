/**
 * LZ4's legacy frame, as Linux uses for kernels: blocks of at most 8 MiB, each after its size. LZ4 frame format 1.6.4. Blocks are unpacked by
 * WebAssembly (`wasm/lz4-block.ts`), in a memory of its own that is small enough for the processor's caches.
 */
import { LZ4_BLOCK } from './lz4-code.ts';
import { Malformed, type OutputLimits } from './output.ts';

const MAGIC = 0x184c_2102;
const BLOCK_MAX = 8 << 20;

export function* unpackLz4Legacy(data: Uint8Array, limits: OutputLimits): Generator<Uint8Array, void> {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const unpacker = makeUnpacker();
  let room = limits.maximumBytes;
  let at = 4;
  while (at + 4 <= data.length) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === MAGIC) continue; // frames may follow one another
    if (size === 0 || at + size > data.length) throw new Malformed(`is cut off: a block of ${size} bytes begins at ${at}`);
    room -= yield* unpackBlock(unpacker, data.subarray(at, at + size), Math.min(BLOCK_MAX, room));
    at += size;
  }
  yield output(unpacker);
}

type Global = WebAssembly.Global<'i32'>;

/** What `wasm/lz4-block.ts` exports. */
interface Unpacker {
  readonly memory: WebAssembly.Memory;
  readonly INPUT: Global;
  readonly INPUT_SIZE: Global;
  readonly OUTPUT: Global;
  readonly NEEDS_ROOM: Global;
  readonly CUT_OFF: Global;
  readonly TOO_LONG: Global;
  readonly TOO_FAR_BACK: Global;
  readonly to: Global;
  readonly left: Global;
  readonly distance: Global;
  start(limit: number): void;
  keepInput(): number;
  give(bytes: number): void;
  slide(): void;
  unpack(last: boolean): number;
}

function makeUnpacker(): Unpacker {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(LZ4_BLOCK));
  return exports as unknown as Unpacker;
}

/** What is in the window and nobody has had yet. */
const output = ({ memory, OUTPUT, to }: Unpacker): Uint8Array => new Uint8Array(memory.buffer, OUTPUT.value, to.value - OUTPUT.value);

/** Gives what does not fit the window any more, and answers how many bytes the block had. */
function* unpackBlock(unpacker: Unpacker, block: Uint8Array, limit: number): Generator<Uint8Array, number> {
  unpacker.start(limit);
  const input = new Uint8Array(unpacker.memory.buffer, unpacker.INPUT.value, unpacker.INPUT_SIZE.value);
  for (let at = 0; at < block.length;) {
    const kept = unpacker.keepInput();
    const more = block.subarray(at, at + input.length - kept);
    input.set(more, kept);
    unpacker.give(kept + more.length);
    at += more.length;
    let stopped = unpacker.unpack(at === block.length);
    for (; stopped === unpacker.NEEDS_ROOM.value; stopped = unpacker.unpack(at === block.length)) {
      yield output(unpacker);
      unpacker.slide();
    }
    if (stopped === unpacker.CUT_OFF.value) throw new Malformed('is cut off within a block');
    if (stopped === unpacker.TOO_LONG.value) throw new Malformed('unpacks to more than was announced');
    if (stopped === unpacker.TOO_FAR_BACK.value) {
      throw new Malformed(`refers ${unpacker.distance.value} bytes back, before its beginning`);
    }
  }
  return limit - unpacker.left.value;
}
