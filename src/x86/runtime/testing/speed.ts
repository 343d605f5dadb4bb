/** Loops over single operations, for measuring their cost. */
import { MXCSR } from '../layout';
import * as f from './arithmetic';

export function addLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 1.1;
  for (let i = 0; i < n; i++) x = f.sse_add_f64(x, 1.3);
  return x;
}

export function exactAddLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 1;
  for (let i = 0; i < n; i++) x = f.sse_add_f64(x, 1);
  return x;
}

export function mulLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 1.1;
  for (let i = 0; i < n; i++) x = f.sse_mul_f64(x, 1.0000001);
  return x;
}

export function exactMulLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 1;
  for (let i = 0; i < n; i++) x = f.sse_mul_f64(x, 1);
  return x;
}

export function divLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 1.1;
  for (let i = 0; i < n; i++) x = f.sse_div_f64(x, 1.0000001);
  return x;
}

export function packedAddLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x = v128.splat<f32>(1.1);
  const y = v128.splat<f32>(1.3);
  for (let i = 0; i < n; i++) x = f.sse_add_f32x4(x, y);
  return <f64>v128.extract_lane<f32>(x, 0);
}

export function packedMulLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x = v128.splat<f64>(1.1);
  const y = v128.splat<f64>(1.0000001);
  for (let i = 0; i < n; i++) x = f.sse_mul_f64x2(x, y);
  return v128.extract_lane<f64>(x, 0);
}

export function comiLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 0;
  for (let i = 0; i < n; i++) x += <f64>f.sse_comi_f64(x, 1.3);
  return x;
}

export function truncLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 0;
  for (let i = 0; i < n; i++) x = <f64>f.sse_trunc_f64_to_i32(x + 1.25);
  return x;
}

export function fmaLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f64 = 1.1;
  for (let i = 0; i < n; i++) x = f.sse_fma_f64(x, 0.999, 0.3, 0);
  return x;
}

export function fmaSingleLoop(n: i32, control: i32): f64 {
  store<i32>(MXCSR, control);
  let x: f32 = 1.1;
  for (let i = 0; i < n; i++) x = f.sse_fma_f32(x, 0.999, 0.3, 0);
  return x;
}

export function x87AddLoop(n: i32, control: i32): f64 {
  f.f80_from_f64(0x9000, reinterpret<u64>(1.1), 0x37f);
  f.f80_from_f64(0x9010, reinterpret<u64>(1.0000001), 0x37f);
  for (let i = 0; i < n; i++) f.f80_add(0x9000, 0x9000, 0x9010, 0x37f);
  return 0;
}

export function x87MulLoop(n: i32, control: i32): f64 {
  for (let i = 0; i < n; i++) f.f80_mul(0x9000, 0x9000, 0x9010, 0x37f);
  return 0;
}

export function x87DivLoop(n: i32, control: i32): f64 {
  for (let i = 0; i < n; i++) f.f80_div(0x9000, 0x9000, 0x9010, 0x37f);
  return 0;
}

export function aesencLoop(n: i32, control: i32): f64 {
  let x = i64x2.splat(3);
  for (let i = 0; i < n; i++) x = f.aesenc(x, x);
  return <f64>i64x2.extract_lane(x, 0);
}

export function pclmulqdqLoop(n: i32, control: i32): f64 {
  let x = i64x2.splat(0x123456789abcdef);
  for (let i = 0; i < n; i++) x = f.pclmulqdq(x, x, 1);
  return <f64>i64x2.extract_lane(x, 0);
}

export function crc32Loop(n: i32, control: i32): f64 {
  let x: u32 = 1;
  for (let i = 0; i < n; i++) x = f.crc32_u64(x, <u64>i);
  return x;
}

export function sha256Loop(n: i32, control: i32): f64 {
  let x = i64x2.splat(0x123456789abcdef);
  for (let i = 0; i < n; i++) x = f.sha256rnds2(x, x, x);
  return <f64>i64x2.extract_lane(x, 0);
}

export function fsinLoop(n: i32, control: i32): f64 {
  f.f80_from_f64(0x9000, reinterpret<u64>(1.1), 0x37f);
  for (let i = 0; i < n; i++) f.f80_sin(0x9010, 0x9000, 0x37f);
  return 0;
}

export function fyl2xLoop(n: i32, control: i32): f64 {
  for (let i = 0; i < n; i++) f.f80_yl2x(0x9010, 0x9000, 0x9000, 0x37f);
  return 0;
}
