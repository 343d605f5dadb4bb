/** Entry of the `daybreak` program. */
import { runProcess } from './main.ts';

await runProcess();
