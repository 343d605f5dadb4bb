import * as f from './arithmetic';

/** Operations in the order of test/runtime/vector.test.ts. */
export function vectorCase(op: i32, src: i32, dst: i32): void {
  const a = v128.load(src);
  const b = v128.load(src, 16);
  const c = v128.load(src, 32);
  const imm = load<i32>(src, 52);
  let r = i64x2.splat(0);
  switch (op) {
    case 0:
      r = f.aesenc(a, b);
      break;
    case 1:
      r = f.aesenclast(a, b);
      break;
    case 2:
      r = f.aesdec(a, b);
      break;
    case 3:
      r = f.aesdeclast(a, b);
      break;
    case 4:
      r = f.aesimc(b);
      break;
    case 5:
      r = f.aeskeygenassist(b, imm);
      break;
    case 6:
      r = f.pclmulqdq(a, b, imm);
      break;
    case 7:
      r = f.sha1rnds4(a, b, imm);
      break;
    case 8:
      r = f.sha1nexte(a, b);
      break;
    case 9:
      r = f.sha1msg1(a, b);
      break;
    case 10:
      r = f.sha1msg2(a, b);
      break;
    case 11:
      r = f.sha256rnds2(a, b, c);
      break;
    case 12:
      r = f.sha256msg1(a, b);
      break;
    case 13:
      r = f.sha256msg2(a, b);
      break;
    case 19:
      r = f.mpsadbw(a, b, imm);
      break;
    case 20:
      r = f.phminposuw(b);
      break;
    case 21:
      store<u32>(dst, f.crc32_u8(load<u32>(src), load<u32>(src, 16)));
      return;
    case 22:
      store<u32>(dst, f.crc32_u16(load<u32>(src), load<u32>(src, 16)));
      return;
    case 23:
      store<u32>(dst, f.crc32_u32(load<u32>(src), load<u32>(src, 16)));
      return;
    case 24:
      store<u32>(dst, f.crc32_u64(load<u32>(src), load<u64>(src, 16)));
      return;
    case 25:
    case 26:
    case 27:
    case 28: {
      const isExplicit = op < 27;
      const aLength = isExplicit ? f.pcmpstr_explicit_length(load<i64>(src, 32), imm) : f.pcmpstr_length(a, imm);
      const bLength = isExplicit ? f.pcmpstr_explicit_length(load<i64>(src, 40), imm) : f.pcmpstr_length(b, imm);
      const result = f.pcmpstr(a, b, aLength, bLength, imm);
      if (op & 1) store<i32>(dst, f.pcmpstr_index(result, imm), 16);
      else v128.store(dst, f.pcmpstr_mask(result, imm));
      store<i32>(dst, result >>> 16, 32);
      return;
    }
  }
  v128.store(dst, r);
}
