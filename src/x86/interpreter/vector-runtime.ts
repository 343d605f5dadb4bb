/** Functions of the runtime that vector instructions call, by signature: letters of opcodes.ts, parameters before the colon. */
import type { ValType } from '../wasm/opcodes.ts';
import type { Signature } from '../wasm/module.ts';

const LETTER: Readonly<Record<string, ValType>> = { i: 'i32', l: 'i64', f: 'f32', d: 'f64', v: 'v128' };

const NAMES: Readonly<Record<string, string>> = {
  'vv:v':
    'vpsllvd vpsrlvd vpsravd vpsllvq vpsrlvq aesenc aesenclast aesdec aesdeclast ' +
    'sha1nexte sha1msg1 sha1msg2 sha256msg1 sha256msg2 ' +
    'sse_add_f32x4 sse_add_f64x2 sse_sub_f32x4 sse_sub_f64x2 sse_mul_f32x4 sse_mul_f64x2 sse_div_f32x4 sse_div_f64x2 ' +
    'sse_min_f32x4 sse_min_f64x2 sse_max_f32x4 sse_max_f64x2 sse_addsub_f32x4 sse_addsub_f64x2 ' +
    'sse_hadd_f32x4 sse_hadd_f64x2 sse_hsub_f32x4 sse_hsub_f64x2',
  'v:v':
    'phminposuw aesimc sse_f16x4_to_f32x4 sse_sqrt_f32x4 sse_sqrt_f64x2 sse_rcp_f32x4 sse_rsqrt_f32x4 sse_f32x2_to_f64x2 sse_f64x2_to_f32x2 sse_i32x4_to_f32x4 ' +
    'sse_i32x2_to_f64x2 sse_f32x4_to_i32x4 sse_trunc_f32x4_to_i32x4 sse_f64x2_to_i32x2 sse_trunc_f64x2_to_i32x2 sse_i32x2_to_f32x2',
  'vi:v': 'aeskeygenassist sse_round_f32x4 sse_round_f64x2 sse_f32x4_to_f16x4 pshufd pshuflw pshufhw pslldq psrldq sse_f32x2_to_i32x2',
  'vvi:v': 'blend16 blend32 blend64 vpermq mpsadbw pclmulqdq sha1rnds4 shufps shufpd palignr sse_cmp_f32x4 sse_cmp_f64x2',
  'vvv:v': 'sha256rnds2',
  'vvvvi:v': 'vperm2f128',
  'vii:v': 'insertps',
  'vvvi:v': 'sse_fma_f32x4 sse_fma_f64x2',
  'vvvii:v': 'sse_fma_alternating_f32x4 sse_fma_alternating_f64x2',
  'fffi:f': 'sse_fma_f32',
  'dddi:d': 'sse_fma_f64',
  'fi:f': 'sse_round_f32',
  'di:d': 'sse_round_f64',
  'vi:i': 'pcmpstr_length',
  'li:i': 'pcmpstr_explicit_length',
  'vviii:i': 'pcmpstr',
  'ii:v': 'pcmpstr_mask',
  'ii:i': 'pcmpstr_index crc32_u8 crc32_u16 crc32_u32',
  'il:i': 'crc32_u64',
  'iiii:l': 'gatherAddress',
  'ff:f': 'sse_add_f32 sse_sub_f32 sse_mul_f32 sse_div_f32 sse_min_f32 sse_max_f32',
  'dd:d': 'sse_add_f64 sse_sub_f64 sse_mul_f64 sse_div_f64 sse_min_f64 sse_max_f64',
  'f:f': 'sse_sqrt_f32',
  'd:d': 'sse_sqrt_f64',
  'i:i': 'sse_rcp_f32 sse_rsqrt_f32',
  'ffi:i': 'sse_cmp_f32',
  'ddi:l': 'sse_cmp_f64',
  'ff:i': 'sse_comi_f32 sse_ucomi_f32',
  'dd:i': 'sse_comi_f64 sse_ucomi_f64',
  'f:d': 'sse_f32_to_f64',
  'd:f': 'sse_f64_to_f32',
  'i:f': 'sse_i32_to_f32',
  'i:d': 'sse_i32_to_f64',
  'l:f': 'sse_i64_to_f32',
  'l:d': 'sse_i64_to_f64',
  'f:i': 'sse_f32_to_i32 sse_trunc_f32_to_i32',
  'd:i': 'sse_f64_to_i32 sse_trunc_f64_to_i32',
  'f:l': 'sse_f32_to_i64 sse_trunc_f32_to_i64',
  'd:l': 'sse_f64_to_i64 sse_trunc_f64_to_i64',
};

function signature(letters: string): Signature {
  const [params, results] = letters.split(':').map((part) => [...part].map((letter) => LETTER[letter]!)) as [ValType[], ValType[]];
  return { params, results };
}

export const VECTOR_RUNTIME: Readonly<Record<string, Signature>> = Object.fromEntries(
  Object.entries(NAMES).flatMap(([letters, names]) => names.split(' ').map((name) => [name, signature(letters)])),
);
