/**
 * `Processes` by Linux's /proc: a process number is given again, but not with the same time of start within one boot. Where there is no /proc, a
 * process has a name all the same, and of no other one is it said that it is over.
 */
import { randomUUID } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { sha256 } from '../base/sha256.ts';
import type { Processes } from '../platform/processes.ts';

export class NodeProcesses implements Processes {
  readonly own: string;
  /** This boot of this computer, and of containers this one; undefined where that cannot be told. */
  readonly #boot: string | undefined;

  private constructor(own: string, boot: string | undefined) {
    this.own = own;
    this.#boot = boot;
  }

  static async open(): Promise<NodeProcesses> {
    const boot = await thisBoot();
    const start = await startOf(process.pid);
    if (boot === undefined || start === undefined) return new NodeProcesses(randomUUID(), undefined);
    return new NodeProcesses(`${boot}-${process.pid}-${start}`, boot);
  }

  async isOver(name: string): Promise<boolean> {
    const [, boot, pid, start] = /^([0-9a-f]{32})-(\d{1,10})-(\d{1,20})$/.exec(name) ?? [];
    if (boot === undefined || boot !== this.#boot) return false;
    try {
      process.kill(Number(pid), 0);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH';
    }
    const now = await startOf(Number(pid));
    return now !== undefined && now !== start;
  }
}

/** A digest, since names are shown to others. */
async function thisBoot(): Promise<string | undefined> {
  try {
    const parts = [hostname(), await readFile('/proc/sys/kernel/random/boot_id', 'utf8'), await readlink('/proc/self/ns/pid')];
    return (await sha256(new TextEncoder().encode(parts.join('\0')))).slice(0, 32);
  } catch {
    return undefined;
  }
}

/** In ticks since the computer was started: proc_pid_stat(5), field 22. A program's name may have spaces and parentheses in it. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
