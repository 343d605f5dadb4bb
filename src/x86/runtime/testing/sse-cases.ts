import { MXCSR, SSE_FAULT } from '../layout';
import * as f from './arithmetic';

function f32At(address: i32): f32 {
  return load<f32>(address);
}

function f64At(address: i32): f64 {
  return load<f64>(address);
}

/** Operations in the order of test/runtime/sse.test.ts; the flags are MXCSR afterwards. */
export function sseCase(op: i32, src: i32, dst: i32): void {
  store<i32>(MXCSR, load<i32>(src, 48));
  store<i32>(SSE_FAULT, 0);
  const a = v128.load(src);
  const b = v128.load(src, 16);
  const c = v128.load(src, 32);
  const imm = load<i32>(src, 52);
  const a32 = f32At(src);
  const b32 = f32At(src + 16);
  const c32 = f32At(src + 32);
  const a64 = f64At(src);
  const b64 = f64At(src + 16);
  const c64 = f64At(src + 32);
  const r = dst;
  switch (op) {
    case 0:
      store<f32>(r, f.sse_add_f32(a32, b32));
      break;
    case 1:
      store<f32>(r, f.sse_sub_f32(a32, b32));
      break;
    case 2:
      store<f32>(r, f.sse_mul_f32(a32, b32));
      break;
    case 3:
      store<f32>(r, f.sse_div_f32(a32, b32));
      break;
    case 4:
      store<f32>(r, f.sse_min_f32(a32, b32));
      break;
    case 5:
      store<f32>(r, f.sse_max_f32(a32, b32));
      break;
    case 6:
      store<f32>(r, f.sse_sqrt_f32(b32));
      break;
    case 10:
      store<f64>(r, f.sse_add_f64(a64, b64));
      break;
    case 11:
      store<f64>(r, f.sse_sub_f64(a64, b64));
      break;
    case 12:
      store<f64>(r, f.sse_mul_f64(a64, b64));
      break;
    case 13:
      store<f64>(r, f.sse_div_f64(a64, b64));
      break;
    case 14:
      store<f64>(r, f.sse_min_f64(a64, b64));
      break;
    case 15:
      store<f64>(r, f.sse_max_f64(a64, b64));
      break;
    case 16:
      store<f64>(r, f.sse_sqrt_f64(b64));
      break;
    case 20:
      v128.store(r, f.sse_add_f32x4(a, b));
      break;
    case 21:
      v128.store(r, f.sse_sub_f32x4(a, b));
      break;
    case 22:
      v128.store(r, f.sse_mul_f32x4(a, b));
      break;
    case 23:
      v128.store(r, f.sse_div_f32x4(a, b));
      break;
    case 24:
      v128.store(r, f.sse_min_f32x4(a, b));
      break;
    case 25:
      v128.store(r, f.sse_max_f32x4(a, b));
      break;
    case 26:
      v128.store(r, f.sse_sqrt_f32x4(b));
      break;
    case 27:
      v128.store(r, f.sse_addsub_f32x4(a, b));
      break;
    case 28:
      v128.store(r, f.sse_hadd_f32x4(a, b));
      break;
    case 29:
      v128.store(r, f.sse_hsub_f32x4(a, b));
      break;
    case 30:
      v128.store(r, f.sse_add_f64x2(a, b));
      break;
    case 31:
      v128.store(r, f.sse_sub_f64x2(a, b));
      break;
    case 32:
      v128.store(r, f.sse_mul_f64x2(a, b));
      break;
    case 33:
      v128.store(r, f.sse_div_f64x2(a, b));
      break;
    case 34:
      v128.store(r, f.sse_min_f64x2(a, b));
      break;
    case 35:
      v128.store(r, f.sse_max_f64x2(a, b));
      break;
    case 36:
      v128.store(r, f.sse_sqrt_f64x2(b));
      break;
    case 37:
      v128.store(r, f.sse_addsub_f64x2(a, b));
      break;
    case 38:
      v128.store(r, f.sse_hadd_f64x2(a, b));
      break;
    case 39:
      v128.store(r, f.sse_hsub_f64x2(a, b));
      break;
    case 40:
      store<i32>(r, f.sse_cmp_f32(a32, b32, imm & 31));
      break;
    case 41:
      store<i64>(r, f.sse_cmp_f64(a64, b64, imm & 31));
      break;
    case 42:
      v128.store(r, f.sse_cmp_f32x4(a, b, imm & 31));
      break;
    case 43:
      v128.store(r, f.sse_cmp_f64x2(a, b, imm & 31));
      break;
    case 44:
      store<i32>(r, f.sse_comi_f32(a32, b32));
      break;
    case 45:
      store<i32>(r, f.sse_comi_f64(a64, b64));
      break;
    case 46:
      store<i32>(r, f.sse_ucomi_f32(a32, b32));
      break;
    case 47:
      store<i32>(r, f.sse_ucomi_f64(a64, b64));
      break;
    case 50:
      store<f32>(r, f.sse_round_f32(a32, imm & 15));
      break;
    case 51:
      store<f64>(r, f.sse_round_f64(a64, imm & 15));
      break;
    case 52:
      v128.store(r, f.sse_round_f32x4(a, imm & 15));
      break;
    case 53:
      v128.store(r, f.sse_round_f64x2(a, imm & 15));
      break;
    case 60:
      store<f64>(r, f.sse_f32_to_f64(a32));
      break;
    case 61:
      store<f32>(r, f.sse_f64_to_f32(a64));
      break;
    case 62:
      store<f32>(r, f.sse_i32_to_f32(load<i32>(src)));
      break;
    case 63:
      store<f64>(r, f.sse_i32_to_f64(load<i32>(src)));
      break;
    case 64:
      store<f32>(r, f.sse_i64_to_f32(load<i64>(src)));
      break;
    case 65:
      store<f64>(r, f.sse_i64_to_f64(load<i64>(src)));
      break;
    case 66:
      store<i32>(r, f.sse_f32_to_i32(a32));
      break;
    case 67:
      store<i32>(r, f.sse_f64_to_i32(a64));
      break;
    case 68:
      store<i64>(r, f.sse_f32_to_i64(a32));
      break;
    case 69:
      store<i64>(r, f.sse_f64_to_i64(a64));
      break;
    case 70:
      store<i32>(r, f.sse_trunc_f32_to_i32(a32));
      break;
    case 71:
      store<i32>(r, f.sse_trunc_f64_to_i32(a64));
      break;
    case 72:
      store<i64>(r, f.sse_trunc_f32_to_i64(a32));
      break;
    case 73:
      store<i64>(r, f.sse_trunc_f64_to_i64(a64));
      break;
    case 74:
      v128.store(r, f.sse_f32x2_to_f64x2(a));
      break;
    case 75:
      v128.store(r, f.sse_f64x2_to_f32x2(a));
      break;
    case 76:
      v128.store(r, f.sse_i32x4_to_f32x4(a));
      break;
    case 77:
      v128.store(r, f.sse_i32x2_to_f64x2(a));
      break;
    case 78:
      v128.store(r, f.sse_f32x4_to_i32x4(a));
      break;
    case 79:
      v128.store(r, f.sse_trunc_f32x4_to_i32x4(a));
      break;
    case 80:
      v128.store(r, f.sse_f64x2_to_i32x2(a));
      break;
    case 81:
      v128.store(r, f.sse_trunc_f64x2_to_i32x2(a));
      break;
    case 82:
      v128.store(r, f.sse_f16x4_to_f32x4(a));
      break;
    case 83:
      v128.store(r, f.sse_f32x4_to_f16x4(a, imm & 7));
      break;
    // The instruction's operands are a, b, c; x * y + z by form.
    case 90:
      store<f32>(r, f.sse_fma_f32(a32, c32, b32, imm & 3));
      break;
    case 91:
      store<f32>(r, f.sse_fma_f32(b32, a32, c32, imm & 3));
      break;
    case 92:
      store<f32>(r, f.sse_fma_f32(b32, c32, a32, imm & 3));
      break;
    case 93:
      store<f64>(r, f.sse_fma_f64(a64, c64, b64, imm & 3));
      break;
    case 94:
      store<f64>(r, f.sse_fma_f64(b64, a64, c64, imm & 3));
      break;
    case 95:
      store<f64>(r, f.sse_fma_f64(b64, c64, a64, imm & 3));
      break;
    case 96:
      v128.store(r, f.sse_fma_f32x4(b, c, a, 0));
      break;
    case 97:
      v128.store(r, f.sse_fma_f64x2(b, c, a, 0));
      break;
    case 98:
      v128.store(r, f.sse_fma_alternating_f32x4(b, a, c, 2, 0));
      break;
    case 99:
      v128.store(r, f.sse_fma_alternating_f64x2(b, a, c, 2, 0));
      break;
    case 100:
      v128.store(r, f.sse_f32x2_to_i32x2(a, 0));
      break;
    case 101:
      v128.store(r, f.sse_i32x2_to_f32x2(a));
      break;
    case 110:
      store<u32>(r, f.sse_rcp_f32(load<u32>(src)));
      break;
    case 111:
      store<u32>(r, f.sse_rsqrt_f32(load<u32>(src)));
      break;
    case 112:
      v128.store(r, f.sse_rcp_f32x4(a));
      break;
    case 113:
      v128.store(r, f.sse_rsqrt_f32x4(a));
      break;
  }
  store<i32>(dst, load<i32>(MXCSR), 32);
  const fault = load<i32>(SSE_FAULT);
  if (fault) {
    store<i32>(dst, 1, 36);
    v128.store(dst, i64x2.splat(0));
  }
}
