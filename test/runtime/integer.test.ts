import { afterAll, beforeAll, expect, test } from 'vitest';
import { Judge, type Generator, type NativeOperation } from './native.ts';

const PRELUDE = `
#define U64(p) (*(uint64_t *)(p))
`;

const operations: NativeOperation[] = [
  { name: 'mul', op: 0, c: 'U64(o->r0) = ((unsigned __int128)U64(i->a) * U64(i->b)) >> 64;' },
  { name: 'imul', op: 1, c: 'U64(o->r0) = ((__int128)*(int64_t *)i->a * *(int64_t *)i->b) >> 64;' },
  {
    name: 'div',
    op: 2,
    c: `if (U64(i->a) >= U64(i->c)) { o->flags = 1; break; }
        uint64_t h = U64(i->a), l = U64(i->b); asm("divq %2" : "+a"(l), "+d"(h) : "r"(U64(i->c))); U64(o->r0) = l; U64(o->r0 + 8) = h;`,
  },
  {
    name: 'idiv',
    op: 3,
    c: `__int128 n = ((__int128)(int64_t)U64(i->a) << 64) | U64(i->b); int64_t d = (int64_t)U64(i->c);
        if (d == 0 || (d == -1 && n == ((__int128)1 << 127))) { o->flags = 1; break; }
        __int128 q = n / d; if (q != (int64_t)q) { o->flags = 1; break; }
        int64_t h = U64(i->a), l = U64(i->b); asm("idivq %2" : "+a"(l), "+d"(h) : "r"(d)); U64(o->r0) = l; U64(o->r0 + 8) = h;`,
  },
  { name: 'pext', op: 4, c: 'U64(o->r0) = _pext_u64(U64(i->a), U64(i->b));' },
  { name: 'pdep', op: 5, c: 'U64(o->r0) = _pdep_u64(U64(i->a), U64(i->b));' },
];

const operands: Generator = (view, at, random) => {
  const c = random.u64Shaped();
  // A high half below the divisor, so that most divisions do not overflow.
  const a = random.below(4) === 0 ? random.u64Shaped() : c === 0n ? 0n : (random.u64() % c) >> BigInt(random.below(3));
  view.setBigUint64(at, random.below(2) === 0 ? a : BigInt.asUintN(64, -a), true);
  view.setBigUint64(at + 16, random.u64Shaped(), true);
  view.setBigUint64(at + 32, c, true);
};

let judge: Judge;
beforeAll(async () => {
  judge = await Judge.create(0, PRELUDE, operations);
}, 120_000);
afterAll(() => judge.dispose());

test.each(operations)('$name gives what the host processor gives', (operation) => {
  expect(judge.compare(operation, operands, 200_000, 0x1234)).toEqual([]);
});
