/**
 * - `quiet`: printing is slow in a guest and hides the prompt.
 * - `rcu_expedited`: nobody waits for grace periods of a machine with one processor.
 * - `load_system_certificate_list`: 0.5 G instructions of RSA for the keys of modules that are not there.
 * - `init_on_alloc`: nobody else's data is in this memory.
 * - `mitigations`, `audit`: the machine has one user, and is thrown away.
 */
export const KERNEL_COMMAND_LINE =
  'console=hvc0 quiet panic=-1 mitigations=off audit=0 init_on_alloc=0 nokaslr rcupdate.rcu_expedited=1 initcall_blacklist=load_system_certificate_list';
