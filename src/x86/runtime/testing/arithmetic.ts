/** The parts of the runtime that are tested by themselves, without the engine around them. */
export * from '../integer';
export * from '../softfloat80';
export * from '../convert80';
export * from '../softfloat';
export * from '../fma';
export * from '../packedfloat';
export * from '../aes';
export * from '../crc';
export * from '../sha';
export * from '../packedinteger';
export * from '../strings';
export * from '../approximate';
export * from '../transcendental80';
