/** `daybreak doctor`: what this computer has for fast machines, what is missing, and what mends it. */
import { VmError } from '../../base/errors.ts';
import type { ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';

export async function doctorVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (text: string): void => host.terminal.write(new TextEncoder().encode(text));
  if (positionals.length > 0) throw new VmError('usage', `doctor: unexpected argument ${positionals[0]}`);
  const report = await host.diagnoseKvm();
  if (values['json']) {
    print(`${JSON.stringify({ kvm: report }, undefined, 2)}\n`);
    return EXIT_OK;
  }
  const lines = [
    ...report.findings.map(
      ({ what, works, instead }) => `${works ? 'yes' : 'no '}  ${what}${instead === undefined ? '' : ` (${instead})`}`,
    ),
    ...(report.problem === undefined ? [] : ['', `${report.problem}.`, `To mend it: ${report.remedy}`]),
    '',
    report.works ? 'Machines run on KVM with --accel kvm or auto.' : 'With --accel auto, machines run on the compiler (jit).',
  ];
  print(`KVM\n${lines.join('\n')}\n`);
  return EXIT_OK;
}
