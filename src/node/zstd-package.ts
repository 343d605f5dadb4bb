/**
 * The one instance of the zstd package in this process, loaded when it is wanted. Its functions bind to an instance when they are first
 * called: a second `init` leaves some with the old memory and some with the new, and what they then give is wrong without a word.
 */
type ZstdPackage = typeof import('@bokuweb/zstd-wasm');

const instance: { ready?: Promise<ZstdPackage> } = {};

export function zstdPackage(): Promise<ZstdPackage> {
  instance.ready ??= load();
  return instance.ready;
}

async function load(): Promise<ZstdPackage> {
  const loaded = await import('@bokuweb/zstd-wasm');
  await loaded.init();
  return loaded;
}
