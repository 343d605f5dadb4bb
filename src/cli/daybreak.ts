/** Entry of the `daybreak` program. */
import { setFlagsFromString } from 'node:v8';
import { runProcess } from './main.ts';

// V8 inlines more than our own code repays: a boot takes a twelfth less CPU time with a third of it (docs/performance.md).
setFlagsFromString('--max-inlined-bytecode-size-cumulative=300');

// And it optimises functions that are not needed much longer: with its own numbers, that takes a tenth of a boot's CPU time. V8 11.3, of Node 20,
// counts bytes of bytecode that have run (67584), later ones count calls (3000).
const [major = 0, minor = 0] = process.versions.v8.split('.').map(Number);
setFlagsFromString(major === 11 && minor < 8 ? '--interrupt-budget=500000' : '--invocation-count-for-turbofan=8000');

// Idle, V8 would go through all of its heap three times to give a few MiB back: about as much CPU time as an idle guest takes. Its own flag against that
// comes too late here. Without marking in small steps it has no way to begin; what it does have to collect it collects in one pause.
setFlagsFromString('--no-incremental-marking');

await runProcess();
