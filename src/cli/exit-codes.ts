/** What the process's exit status says. Documented in `--help`. */
export const EXIT_OK = 0;
export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;
/** Of `try … -- CMD`: we failed, not the command. As env(1) and docker(1) have it. */
export const EXIT_OURS = 125;
/** By a signal: 128 + its number, as shells have it. */
export const EXIT_SIGNAL = 128;
/** Nobody reads our output any more: as if SIGPIPE had ended us. */
export const EXIT_CLOSED = 141;
