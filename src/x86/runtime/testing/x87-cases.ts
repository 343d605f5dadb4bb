import * as f from './arithmetic';

/** Operations in the order of test/runtime/x87.test.ts. Register results start as the operand, memory results as zero. */
export function x87Case(op: i32, src: i32, dst: i32): void {
  const a = src;
  const b = src + 16;
  const control = load<i32>(src, 48);
  store<u64>(dst, load<u64>(a));
  store<u64>(dst, load<u16>(a, 8), 8);
  let flags = 0;
  if (op >= 20 && op < 40) {
    store<u64>(dst, 0);
    store<u64>(dst, 0, 8);
  }
  switch (op) {
    case 0:
      flags = f.f80_add(dst, a, b, control);
      break;
    case 1:
      flags = f.f80_sub(dst, a, b, control);
      break;
    case 2:
      flags = f.f80_subr(dst, a, b, control);
      break;
    case 3:
      flags = f.f80_mul(dst, a, b, control);
      break;
    case 4:
      flags = f.f80_div(dst, a, b, control);
      break;
    case 5:
      flags = f.f80_divr(dst, a, b, control);
      break;
    case 6:
      flags = f.f80_sqrt(dst, a, control);
      break;
    case 7:
      flags = f.f80_rndint(dst, a, control);
      break;
    case 8:
      flags = f.f80_scale(dst, a, b, control);
      break;
    case 9:
      flags = f.f80_prem(dst, a, b, control);
      break;
    case 10:
      flags = f.f80_prem1(dst, a, b, control);
      break;
    case 11:
      f.f80_abs(dst, a);
      break;
    case 12:
      f.f80_chs(dst, a);
      break;
    case 13:
      flags = f.f80_xam(a);
      break;
    case 14:
      flags = f.f80_com(a, b, control);
      break;
    case 15:
      flags = f.f80_ucom(a, b, control);
      break;
    case 16:
      flags = f.f80_tst(a, control);
      break;
    case 17:
      flags = f.f80_xtract(dst + 16, dst, a, control);
      break;
    case 20:
      flags = f.f80_to_f32(dst, a, control);
      break;
    case 21:
      flags = f.f80_to_f64(dst, a, control);
      break;
    case 22:
      flags = f.f80_to_i16(dst, a, control);
      break;
    case 23:
      flags = f.f80_to_i32(dst, a, control);
      break;
    case 24:
      flags = f.f80_to_i64(dst, a, control);
      break;
    case 25:
      flags = f.f80_trunc_i16(dst, a, control);
      break;
    case 26:
      flags = f.f80_trunc_i32(dst, a, control);
      break;
    case 27:
      flags = f.f80_trunc_i64(dst, a, control);
      break;
    case 28:
      flags = f.f80_to_bcd(dst, a, control);
      break;
    case 30:
      flags = f.f80_from_f32(dst, load<u32>(a), control);
      break;
    case 31:
      flags = f.f80_from_f64(dst, load<u64>(a), control);
      break;
    case 32:
      f.f80_from_i64(dst, <i64>load<i16>(a));
      break;
    case 33:
      f.f80_from_i64(dst, <i64>load<i32>(a));
      break;
    case 34:
      f.f80_from_i64(dst, load<i64>(a));
      break;
    case 35:
      f.f80_from_bcd(dst, a);
      break;
    case 36:
      f.f80_constant(dst, load<i32>(src, 52), control);
      break;
    case 40:
      flags = f.f80_2xm1(dst, a, control);
      break;
    case 41:
      flags = f.f80_yl2x(dst, a, b, control);
      break;
    case 42:
      flags = f.f80_yl2xp1(dst, a, b, control);
      break;
    case 43:
      flags = f.f80_patan(dst, a, b, control);
      break;
    case 44:
      flags = f.f80_sin(dst, a, control);
      break;
    case 45:
      flags = f.f80_cos(dst, a, control);
      break;
    case 46:
      flags = f.f80_sincos(dst + 16, dst, a, control);
      break;
    case 47:
      flags = f.f80_tan(dst + 16, dst, a, control);
      break;
  }
  store<i32>(dst, flags, 32);
}
