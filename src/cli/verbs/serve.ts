/** `daybreak serve`: offers the page to this computer's browser. */
import { VmError } from '../../base/errors.ts';
import { servePage } from '../../server/page-server.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { PAGE_PORT } from '../usage/tools.ts';

export async function serveVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (line: string): void => host.terminal.write(new TextEncoder().encode(line));
  const [files, ...more] = positionals;
  if (more.length > 0) throw new VmError('usage', `serve: unexpected argument ${more[0]}`);
  const port = text(values, 'port') ?? String(PAGE_PORT);
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
