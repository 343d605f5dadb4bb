/** WebAssembly's instructions as data. WebAssembly Core Specification 2.0, section 5.4. */

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export const VALTYPE_CODE: Readonly<Record<ValType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** Signature letters: i i32, l i64, f f32, d f64, v v128. */
const LETTER: Readonly<Record<string, ValType>> = { i: 'i32', l: 'i64', f: 'f32', d: 'f64', v: 'v128' };

export interface Operation {
  readonly name: string;
  /** Opcode bytes, prefix included. */
  readonly code: readonly number[];
  readonly params: readonly ValType[];
  readonly result: ValType;
  /** Bytes of immediate lane index (or indices) after the opcode. */
  readonly lanes: number;
}

export interface MemoryOperation {
  readonly name: string;
  readonly code: readonly number[];
  readonly type: ValType;
  readonly lanes: number;
}

function sleb(value: number): number[] {
  const out: number[] = [];
  do {
    const byte = value & 0x7f;
    value >>>= 7;
    out.push(value ? byte | 0x80 : byte);
  } while (value);
  return out;
}

/** `names` are numbered from `first` on; `_` skips a number. */
function numbered(signature: string, first: number, names: string): [string, string, number][] {
  return names.split(' ').flatMap((name, i) => (name === '_' ? [] : [[name, signature, first + i] as [string, string, number]]));
}

const PLAIN = [
  ...numbered('i:i', 0x45, 'i32.eqz'),
  ...numbered('ii:i', 0x46, 'i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u'),
  ...numbered('l:i', 0x50, 'i64.eqz'),
  ...numbered('ll:i', 0x51, 'i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u'),
  ...numbered('ff:i', 0x5b, 'f32.eq f32.ne f32.lt f32.gt f32.le f32.ge'),
  ...numbered('dd:i', 0x61, 'f64.eq f64.ne f64.lt f64.gt f64.le f64.ge'),
  ...numbered('i:i', 0x67, 'i32.clz i32.ctz i32.popcnt'),
  ...numbered(
    'ii:i',
    0x6a,
    'i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr',
  ),
  ...numbered('l:l', 0x79, 'i64.clz i64.ctz i64.popcnt'),
  ...numbered(
    'll:l',
    0x7c,
    'i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr',
  ),
  ...numbered('f:f', 0x8b, 'f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt'),
  ...numbered('ff:f', 0x92, 'f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign'),
  ...numbered('d:d', 0x99, 'f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt'),
  ...numbered('dd:d', 0xa0, 'f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign'),
  ...numbered('l:i', 0xa7, 'i32.wrap_i64'),
  ...numbered('i:l', 0xac, 'i64.extend_i32_s i64.extend_i32_u'),
  ...numbered('i:f', 0xb2, 'f32.convert_i32_s f32.convert_i32_u'),
  ...numbered('l:f', 0xb4, 'f32.convert_i64_s f32.convert_i64_u'),
  ...numbered('d:f', 0xb6, 'f32.demote_f64'),
  ...numbered('i:d', 0xb7, 'f64.convert_i32_s f64.convert_i32_u'),
  ...numbered('l:d', 0xb9, 'f64.convert_i64_s f64.convert_i64_u'),
  ...numbered('f:d', 0xbb, 'f64.promote_f32'),
  ...numbered('f:i', 0xbc, 'i32.reinterpret_f32'),
  ...numbered('d:l', 0xbd, 'i64.reinterpret_f64'),
  ...numbered('i:f', 0xbe, 'f32.reinterpret_i32'),
  ...numbered('l:d', 0xbf, 'f64.reinterpret_i64'),
  ...numbered('i:i', 0xc0, 'i32.extend8_s i32.extend16_s'),
  ...numbered('l:l', 0xc2, 'i64.extend8_s i64.extend16_s i64.extend32_s'),
  ...numbered('lli:l', 0x1b, 'i64.select'),
  ...numbered('iii:i', 0x1b, 'i32.select'),
  ...numbered('vvi:v', 0x1b, 'v128.select'),
];

const SATURATING = [
  ...numbered('f:i', 0, 'i32.trunc_sat_f32_s i32.trunc_sat_f32_u'),
  ...numbered('d:i', 2, 'i32.trunc_sat_f64_s i32.trunc_sat_f64_u'),
  ...numbered('f:l', 4, 'i64.trunc_sat_f32_s i64.trunc_sat_f32_u'),
  ...numbered('d:l', 6, 'i64.trunc_sat_f64_s i64.trunc_sat_f64_u'),
];

const VECTOR = [
  ...numbered('vv:v', 14, 'i8x16.swizzle'),
  ...numbered('i:v', 15, 'i8x16.splat i16x8.splat i32x4.splat'),
  ...numbered('l:v', 18, 'i64x2.splat'),
  ...numbered('f:v', 19, 'f32x4.splat'),
  ...numbered('d:v', 20, 'f64x2.splat'),
  ...numbered('vv:v', 35, 'i8x16.eq i8x16.ne i8x16.lt_s i8x16.lt_u i8x16.gt_s i8x16.gt_u i8x16.le_s i8x16.le_u i8x16.ge_s i8x16.ge_u'),
  ...numbered('vv:v', 45, 'i16x8.eq i16x8.ne i16x8.lt_s i16x8.lt_u i16x8.gt_s i16x8.gt_u i16x8.le_s i16x8.le_u i16x8.ge_s i16x8.ge_u'),
  ...numbered('vv:v', 55, 'i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s i32x4.gt_u i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u'),
  ...numbered('vv:v', 65, 'f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge'),
  ...numbered('vv:v', 71, 'f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge'),
  ...numbered('v:v', 77, 'v128.not'),
  ...numbered('vv:v', 78, 'v128.and v128.andnot v128.or v128.xor'),
  ...numbered('vvv:v', 82, 'v128.bitselect'),
  ...numbered('v:i', 83, 'v128.any_true'),
  ...numbered('v:v', 94, 'f32x4.demote_f64x2_zero f64x2.promote_low_f32x4'),
  ...numbered('v:v', 96, 'i8x16.abs i8x16.neg i8x16.popcnt'),
  ...numbered('v:i', 99, 'i8x16.all_true i8x16.bitmask'),
  ...numbered('v:v', 103, 'f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest'),
  ...numbered('vv:v', 101, 'i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u'),
  ...numbered('vi:v', 107, 'i8x16.shl i8x16.shr_s i8x16.shr_u'),
  ...numbered('vv:v', 110, 'i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u'),
  ...numbered('v:v', 116, 'f64x2.ceil f64x2.floor'),
  ...numbered('vv:v', 118, 'i8x16.min_s i8x16.min_u i8x16.max_s i8x16.max_u _ i8x16.avgr_u'),
  ...numbered('v:v', 122, 'f64x2.trunc'),
  ...numbered(
    'v:v',
    124,
    'i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u i16x8.abs i16x8.neg',
  ),
  ...numbered('vv:v', 130, 'i16x8.q15mulr_sat_s'),
  ...numbered('v:i', 131, 'i16x8.all_true i16x8.bitmask'),
  ...numbered('vv:v', 133, 'i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u'),
  ...numbered('v:v', 135, 'i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u'),
  ...numbered('vi:v', 139, 'i16x8.shl i16x8.shr_s i16x8.shr_u'),
  ...numbered(
    'vv:v',
    142,
    'i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u _ i16x8.mul i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u _ i16x8.avgr_u',
  ),
  ...numbered('v:v', 148, 'f64x2.nearest'),
  ...numbered('vv:v', 156, 'i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s i16x8.extmul_low_i8x16_u i16x8.extmul_high_i8x16_u'),
  ...numbered('v:v', 160, 'i32x4.abs i32x4.neg'),
  ...numbered('v:i', 163, 'i32x4.all_true i32x4.bitmask'),
  ...numbered('v:v', 167, 'i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u'),
  ...numbered('vi:v', 171, 'i32x4.shl i32x4.shr_s i32x4.shr_u'),
  ...numbered('vv:v', 174, 'i32x4.add _ _ i32x4.sub _ _ _ i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s'),
  ...numbered('vv:v', 188, 'i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s i32x4.extmul_low_i16x8_u i32x4.extmul_high_i16x8_u'),
  ...numbered('v:v', 192, 'i64x2.abs i64x2.neg'),
  ...numbered('v:i', 195, 'i64x2.all_true i64x2.bitmask'),
  ...numbered('v:v', 199, 'i64x2.extend_low_i32x4_s i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u'),
  ...numbered('vi:v', 203, 'i64x2.shl i64x2.shr_s i64x2.shr_u'),
  ...numbered(
    'vv:v',
    206,
    'i64x2.add _ _ i64x2.sub _ _ _ i64x2.mul i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u i64x2.extmul_high_i32x4_u',
  ),
  ...numbered('v:v', 224, 'f32x4.abs f32x4.neg _ f32x4.sqrt'),
  ...numbered('vv:v', 228, 'f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f32x4.pmax'),
  ...numbered('v:v', 236, 'f64x2.abs f64x2.neg _ f64x2.sqrt'),
  ...numbered('vv:v', 240, 'f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max f64x2.pmin f64x2.pmax'),
  ...numbered(
    'v:v',
    248,
    'i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u',
  ),
];

/** Vector instructions with a lane immediate. */
const LANES = [
  ...numbered('v:i', 21, 'i8x16.extract_lane_s i8x16.extract_lane_u'),
  ...numbered('vi:v', 23, 'i8x16.replace_lane'),
  ...numbered('v:i', 24, 'i16x8.extract_lane_s i16x8.extract_lane_u'),
  ...numbered('vi:v', 26, 'i16x8.replace_lane'),
  ...numbered('v:i', 27, 'i32x4.extract_lane'),
  ...numbered('vi:v', 28, 'i32x4.replace_lane'),
  ...numbered('v:l', 29, 'i64x2.extract_lane'),
  ...numbered('vl:v', 30, 'i64x2.replace_lane'),
  ...numbered('v:f', 31, 'f32x4.extract_lane'),
  ...numbered('vf:v', 32, 'f32x4.replace_lane'),
  ...numbered('v:d', 33, 'f64x2.extract_lane'),
  ...numbered('vd:v', 34, 'f64x2.replace_lane'),
];

function operation([name, signature, number]: [string, string, number], prefix: number | undefined, lanes: number): [string, Operation] {
  const [params, result] = signature.split(':') as [string, string];
  const code = prefix === undefined ? [number] : [prefix, ...sleb(number)];
  return [name, { name, code, params: [...params].map((l) => LETTER[l]!), result: LETTER[result]!, lanes }];
}

export const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ...PLAIN.map((row) => operation(row, undefined, 0)),
  ...SATURATING.map((row) => operation(row, 0xfc, 0)),
  ...VECTOR.map((row) => operation(row, 0xfd, 0)),
  ...LANES.map((row) => operation(row, 0xfd, 1)),
  operation(['i8x16.shuffle', 'vv:v', 13], 0xfd, 16),
]);

function memory(type: ValType, first: number, names: string, prefix?: number): [string, MemoryOperation][] {
  return names
    .split(' ')
    .map((name, i) => [name, { name, code: prefix === undefined ? [first + i] : [prefix, ...sleb(first + i)], type, lanes: 0 }]);
}

export const LOADS: ReadonlyMap<string, MemoryOperation> = new Map([
  ...memory('i32', 0x28, 'i32.load'),
  ...memory('i64', 0x29, 'i64.load'),
  ...memory('f32', 0x2a, 'f32.load'),
  ...memory('f64', 0x2b, 'f64.load'),
  ...memory('i32', 0x2c, 'i32.load8_s i32.load8_u i32.load16_s i32.load16_u'),
  ...memory('i64', 0x30, 'i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u'),
  ...memory('v128', 0, 'v128.load', 0xfd),
  ...memory('v128', 7, 'v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat', 0xfd),
  ...memory('v128', 92, 'v128.load32_zero v128.load64_zero', 0xfd),
]);

export const STORES: ReadonlyMap<string, MemoryOperation> = new Map([
  ...memory('i32', 0x36, 'i32.store'),
  ...memory('i64', 0x37, 'i64.store'),
  ...memory('f32', 0x38, 'f32.store'),
  ...memory('f64', 0x39, 'f64.store'),
  ...memory('i32', 0x3a, 'i32.store8 i32.store16'),
  ...memory('i64', 0x3c, 'i64.store8 i64.store16 i64.store32'),
  ...memory('v128', 11, 'v128.store', 0xfd),
]);
