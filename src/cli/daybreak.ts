/** Entry of the `daybreak` program. */
import { setFlagsFromString } from 'node:v8';
import { runProcess } from './main.ts';

// V8 inlines more than our own code repays: a boot takes a twelfth less CPU time with a third of it (docs/performance.md).
setFlagsFromString('--max-inlined-bytecode-size-cumulative=300');

// It looks at a function whenever so many bytes of its bytecode have run, and optimises it after a few looks. By its own number, 67584, that
// takes a tenth of a boot's CPU time, most of it for functions that are not needed much longer.
setFlagsFromString('--interrupt-budget=500000');

// Idle, V8 would go through all of its heap three times to give a few MiB back: about as much CPU time as an idle guest takes. Its own flag against that
// comes too late here. Without marking in small steps it has no way to begin; what it does have to collect it collects in one pause.
setFlagsFromString('--no-incremental-marking');

await runProcess();
