// Loaded into a real `daybreak` before it starts (node --import): kills its process, with SIGKILL, at one of the steps that it does to files, while that step
// is being done. KILL_AT counts steps from 1; KILL_AFTER_US is how long the step has been under way. How many there were is told on descriptor 3.
import { writeSync } from 'node:fs';
import files from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const killAt = Number(process.env.KILL_AT);
const afterMs = Number(process.env.KILL_AFTER_US) / 1000;
let steps = 0;

function counted(holder, name) {
  const original = holder[name];
  holder[name] = function step(...args) {
    steps++;
    const begun = original.apply(this, args);
    if (steps === killAt) {
      for (const from = performance.now(); performance.now() - from < afterMs;);
      process.kill(process.pid, 'SIGKILL');
    }
    return begun;
  };
}

const handle = await files.open(process.execPath);
for (const name of ['write', 'truncate', 'datasync', 'close']) counted(Object.getPrototypeOf(handle), name);
await handle.close();
for (const name of ['open', 'writeFile', 'mkdir', 'rename', 'link', 'rm', 'utimes']) counted(files, name);
steps = 0;
syncBuiltinESMExports();
process.on('exit', () => writeSync(3, String(steps)));
