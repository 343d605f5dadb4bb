import { expect, test } from 'vitest';
import type { CompilerEvent } from '../x86/compiler/observer.ts';
import { JitLog } from './jit-log.ts';

const place = { linear: 0xffffffff81234567n, physical: 0x1234567 };
const region: CompilerEvent = {
  ...{ kind: 'region', place, name: 'memcpy+0x7', module: 3, handler: 7312 },
  ...{ entries: 2, blocks: 12, steps: 88, bytes: 5120 },
};

function log(): { log: JitLog; written: string[] } {
  const written: string[] = [];
  return { log: new JitLog((data) => written.push(new TextDecoder().decode(data))), written };
}

test('each event is a line of names and values', () => {
  const { log: jitLog, written } = log();
  jitLog.event({ kind: 'module', number: 3, regions: 1, bytes: 5400, emitMs: 1.234, moduleMs: 0.5 });
  jitLog.event(region);
  jitLog.event({ kind: 'drop', place, handler: 7312, reason: 'changed' });
  jitLog.event({ kind: 'refuse', linear: 0x401000n, reason: 'interpreted' });
  expect(written).toEqual([]);
  jitLog.flush();
  jitLog.flush();
  expect(written).toEqual([
    `module 3 regions 1 bytes 5400 emit 1.23 ms compile 0.50 ms
region ffffffff81234567 physical 1234567 entries 2 blocks 12 instructions 88 bytes 5120 module 3 handler 7312 times 1 memcpy+0x7
drop ffffffff81234567 physical 1234567 handler 7312 because changed
refuse 401000 because interpreted
`,
  ]);
});

test('code that is compiled again and again counts up', () => {
  const { log: jitLog, written } = log();
  for (let n = 0; n < 3; n++) jitLog.event(region);
  jitLog.event({ ...region, place: { ...place, physical: 0x9000 } });
  jitLog.flush();
  expect([...written.join('').matchAll(/times (\d+)/g)].map((match) => match[1])).toEqual(['1', '2', '3', '1']);
});

test('lines are handed on in large pieces', () => {
  const { log: jitLog, written } = log();
  for (let n = 0; n < 2000; n++) jitLog.event(region);
  jitLog.flush();
  expect(written.join('').split('\n').length).toBe(2001);
  expect(written.length).toBeLessThan(10);
});
