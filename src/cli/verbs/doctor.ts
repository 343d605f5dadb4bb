/** `daybreak doctor`: what this computer has for fast machines, what is missing, and what mends it. */
import { VmError } from '../../base/errors.ts';
import { parseVerb } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';

export const DOCTOR_HELP = `Usage: daybreak doctor [options]

Says whether machines can run on KVM here, by running small guests; if not, what is missing and what mends it.
Without KVM, machines run on Daybreak's own compiler, which needs nothing.

Options:
  --json              for programs
  -h, --help          this text
`;

export async function doctorVerb(host: Host, args: readonly string[]): Promise<number> {
  const { values, positionals, command } = parseVerb('doctor', args, { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } });
  const print = (text: string): void => host.terminal.write(new TextEncoder().encode(text));
  if (values['help']) {
    print(DOCTOR_HELP);
    return EXIT_OK;
  }
  if (positionals.length > 0 || command)
    throw new VmError('usage', `doctor: unexpected argument ${[...positionals, ...(command ?? [])][0] ?? '--'}`);
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
