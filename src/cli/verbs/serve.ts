/** `daybreak serve`: offers the page to this computer's browser. */
import { VmError } from '../../base/errors.ts';
import { servePage } from '../../server/page-server.ts';
import { parseVerb, text } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';

const PORT = 8086;

export const SERVE_HELP = `Usage: daybreak serve [options] [DIRECTORY]

Offers the page, in which machines run, to browsers on this computer; the files of DIRECTORY are under files/.
Prints the page's address, and serves until it is interrupted.

Options:
  --port N            where to listen; 0: wherever it is free (default: ${PORT})
  -h, --help          this text
`;

export async function serveVerb(host: Host, args: readonly string[]): Promise<number> {
  const { values, positionals, command } = parseVerb('serve', args, { port: { type: 'string' }, help: { type: 'boolean', short: 'h' } });
  const print = (line: string): void => host.terminal.write(new TextEncoder().encode(line));
  if (values['help']) {
    print(SERVE_HELP);
    return EXIT_OK;
  }
  const [files, ...more] = positionals;
  if (more.length > 0 || command) throw new VmError('usage', `serve: unexpected argument ${[...more, ...(command ?? [])][0] ?? '--'}`);
  const port = text(values, 'port') ?? String(PORT);
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) throw new VmError('usage', `--port ${port}: expected a number up to 65535`);
  const server = await servePage({ page: host.pageDirectory, port: Number(port), ...(files !== undefined && { files }) });
  print(`${server.url}\n`);
  await new Promise<void>((resolve) => {
    host.signal.addEventListener('abort', () => resolve(), { once: true });
    if (host.signal.aborted) resolve();
  });
  await server.close();
  return EXIT_OK;
}
