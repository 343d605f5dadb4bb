/** Compiles the AssemblyScript file `entry` to `output`, both relative to the project's root; rejects with the compiler's messages. */
export function buildRuntime(entry?: string, output?: string): Promise<void>;
