/** SHA extensions (FIPS 180-4; SDM vol. 2). The first listed word of a vector is its highest lane. */

/** SHA1RNDS4: four rounds on A, B, C, D in `abcd` (A highest) with the scheduled words and E in `words`. */
export function sha1rnds4(abcd: v128, words: v128, imm: i32): v128 {
  let a = i32x4.extract_lane(abcd, 3);
  let b = i32x4.extract_lane(abcd, 2);
  let c = i32x4.extract_lane(abcd, 1);
  let d = i32x4.extract_lane(abcd, 0);
  let e = 0;
  const kind = imm & 3;
  const k: i32 = kind == 0 ? 0x5a827999 : kind == 1 ? 0x6ed9eba1 : kind == 2 ? <i32>0x8f1bbcdc : <i32>0xca62c1d6;
  let rest = words;
  for (let round = 0; round < 4; round++) {
    let f = b ^ c ^ d;
    if (kind == 0) f = (b & c) ^ (~b & d);
    else if (kind == 2) f = (b & c) ^ (b & d) ^ (c & d);
    const next = f + rotl<i32>(a, 5) + i32x4.extract_lane(rest, 3) + e + k;
    rest = v128.shuffle<i32>(rest, rest, 0, 0, 1, 2);
    e = d;
    d = c;
    c = rotl<i32>(b, 30);
    b = a;
    a = next;
  }
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(d), 1, c), 2, b), 3, a);
}

/** SHA1NEXTE: adds E, from A four rounds ago, to the highest word. */
export function sha1nexte(state: v128, words: v128): v128 {
  const e = rotl<i32>(i32x4.extract_lane(state, 3), 30);
  return i32x4.replace_lane(words, 3, i32x4.extract_lane(words, 3) + e);
}

export function sha1msg1(a: v128, b: v128): v128 {
  return v128.xor(a, v128.shuffle<i32>(a, b, 6, 7, 0, 1));
}

export function sha1msg2(a: v128, b: v128): v128 {
  const w16 = rotl<i32>(i32x4.extract_lane(a, 3) ^ i32x4.extract_lane(b, 2), 1);
  const w17 = rotl<i32>(i32x4.extract_lane(a, 2) ^ i32x4.extract_lane(b, 1), 1);
  const w18 = rotl<i32>(i32x4.extract_lane(a, 1) ^ i32x4.extract_lane(b, 0), 1);
  const w19 = rotl<i32>(i32x4.extract_lane(a, 0) ^ w16, 1);
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(w19), 1, w18), 2, w17), 3, w16);
}

/** SHA256RNDS2: two rounds; `cdgh` is the destination, `abef` the source, `wk` the implicit XMM0. */
export function sha256rnds2(cdgh: v128, abef: v128, wk: v128): v128 {
  let a = i32x4.extract_lane(abef, 3);
  let b = i32x4.extract_lane(abef, 2);
  let c = i32x4.extract_lane(cdgh, 3);
  let d = i32x4.extract_lane(cdgh, 2);
  let e = i32x4.extract_lane(abef, 1);
  let f = i32x4.extract_lane(abef, 0);
  let g = i32x4.extract_lane(cdgh, 1);
  let h = i32x4.extract_lane(cdgh, 0);
  let word = i32x4.extract_lane(wk, 0);
  for (let round = 0; round < 2; round++) {
    const t1 = h + word + ((e & f) ^ (~e & g)) + (rotr<i32>(e, 6) ^ rotr<i32>(e, 11) ^ rotr<i32>(e, 25));
    const t2 = ((a & b) ^ (a & c) ^ (b & c)) + (rotr<i32>(a, 2) ^ rotr<i32>(a, 13) ^ rotr<i32>(a, 22));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
    word = i32x4.extract_lane(wk, 1);
  }
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(f), 1, e), 2, b), 3, a);
}

function rotateRight(x: v128, count: i32): v128 {
  return v128.or(i32x4.shr_u(x, count), i32x4.shl(x, 32 - count));
}

export function sha256msg1(a: v128, b: v128): v128 {
  const next = v128.shuffle<i32>(a, b, 1, 2, 3, 4);
  return i32x4.add(a, v128.xor(v128.xor(rotateRight(next, 7), rotateRight(next, 18)), i32x4.shr_u(next, 3)));
}

function sigma1(x: i32): i32 {
  return rotr<i32>(x, 17) ^ rotr<i32>(x, 19) ^ <i32>(<u32>x >> 10);
}

export function sha256msg2(a: v128, b: v128): v128 {
  const w16 = i32x4.extract_lane(a, 0) + sigma1(i32x4.extract_lane(b, 2));
  const w17 = i32x4.extract_lane(a, 1) + sigma1(i32x4.extract_lane(b, 3));
  const w18 = i32x4.extract_lane(a, 2) + sigma1(w16);
  const w19 = i32x4.extract_lane(a, 3) + sigma1(w17);
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(w16), 1, w17), 2, w18), 3, w19);
}
