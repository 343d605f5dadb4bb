/**
 * Test entry of the runtime: runs one operation over a batch of records, so that millions of cases can be compared with the
 * host's processor. Record in: a, b, c (16 bytes each), control u32 at 48, immediate u32 at 52. Record out: result,
 * second result (16 bytes each), flags u32 at 32, more at 36. 64 bytes each.
 */
import { integerCase } from './integer-cases';
import { sseCase } from './sse-cases';
import { vectorCase } from './vector-cases';
import { x87Case } from './x87-cases';

export function runBatch(group: i32, op: i32, count: i32, src: i32, dst: i32): void {
  for (let n = 0; n < count; n++) {
    if (group == 0) integerCase(op, src, dst);
    else if (group == 1) x87Case(op, src, dst);
    else if (group == 2) sseCase(op, src, dst);
    else if (group == 3) vectorCase(op, src, dst);
    src += 64;
    dst += 64;
  }
}
