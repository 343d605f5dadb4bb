import { readFile } from 'node:fs/promises';
import { main } from 'assemblyscript/asc';
import { expect, test } from 'vitest';
import { LZ4_BLOCK } from './lz4-code.ts';

const FLAGS = '--runtime stub --noAssert --optimizeLevel 3 --shrinkLevel 1 --converge --enable simd --initialMemory 6 --maximumMemory 6';

test('the code that unpacks blocks of LZ4 is what its source is compiled to', async () => {
  const source = await readFile(new URL('wasm/lz4-block.ts', import.meta.url), 'utf8');
  let code: Uint8Array | undefined;
  const { error, stderr } = await main(['block.ts', '--outFile', 'block.wasm', ...FLAGS.split(' ')], {
    readFile: (name) => (name === 'block.ts' ? source : null),
    writeFile: (_, contents) => void (code = contents as Uint8Array),
    listFiles: () => [],
  });
  expect(error, stderr.toString()).toBeNull();
  expect(Buffer.from(LZ4_BLOCK).toString('base64')).toBe(Buffer.from(code!).toString('base64'));
});
