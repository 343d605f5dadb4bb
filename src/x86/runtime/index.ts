/** Everything that the runtime module exports. */
export * from './integer';
export * from './softfloat80';
export * from './convert80';
export * from './softfloat';
export * from './packedfloat';
