/** Runs a small program of this computer to its end. */
import { spawn } from 'node:child_process';
import { VmError } from '../base/errors.ts';

/** What it prints. Rejects with `host-io` when it cannot be started or ends with an error, which says what it said. */
export function runProgram(program: string, args: readonly string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let [output, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.stdin.on('error', () => {}); // It need not read what it is given.
    child.on('error', (error) => reject(new VmError('host-io', `cannot run ${program}: ${error.message}`, error)));
    child.on('close', (status) => {
      if (status === 0) resolve(output);
      else reject(new VmError('host-io', `${program} ended with status ${status}: ${(errors + output).trim().slice(0, 200)}`));
    });
    child.stdin.end(input);
  });
}
