/** Everything that the runtime module exports. */
export * from './integer';
export * from './softfloat80';
export * from './convert80';
export * from './softfloat';
export * from './packedfloat';
export * from './mmu';
export * from './code';
export * from './address';
export * from './bulk';
export * from './divide';
export * from './aes';
export * from './crc';
export * from './sha';
export * from './packedinteger';
export * from './strings';
export * from './approximate';
