/** Everything that the runtime module exports. */
export * from './integer';
export * from './softfloat80';
export * from './convert80';
