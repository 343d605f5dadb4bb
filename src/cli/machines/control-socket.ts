/** Both ends of a machine's control socket. */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { VmError } from '../../base/errors.ts';
import { LINE_MAX, parseAnswer, parseRequest, type Answer, type Request } from './protocol.ts';

/** What systems allow for a socket's path, with its zero. */
export const SOCKET_PATH_MAX = 103;
/** Who connects has something to say. */
const REQUEST_MS = 5000;
const GOODBYE_MS = 1000;

/** Answers a request by calling `answer` any number of times; the connection ends when it has resolved. Rejecting refuses it. */
export type Handler = (request: Request, answer: (answer: Answer) => void) => Promise<void>;

export class ControlServer {
  readonly #server: Server;
  readonly #open = new Map<Socket, Promise<void>>();

  private constructor(handler: Handler) {
    this.#server = createServer((socket) => {
      const served = serve(socket, handler).finally(() => this.#open.delete(socket));
      this.#open.set(socket, served);
    });
    // A machine that has ended is not held up by somebody who might ask.
    this.#server.unref();
  }

  /** Rejects with the system's error. */
  static listen(path: string, handler: Handler): Promise<ControlServer> {
    const control = new ControlServer(handler);
    return new Promise((resolve, reject) => {
      control.#server.once('error', reject);
      control.#server.listen({ path }, () => resolve(control));
    });
  }

  /** Takes no more requests, and gives those that are being answered a moment to end. */
  async close(): Promise<void> {
    this.#server.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, GOODBYE_MS)));
    await Promise.race([Promise.allSettled(this.#open.values()), late]);
    clearTimeout(timer);
    for (const socket of this.#open.keys()) socket.destroy();
  }
}

async function serve(socket: Socket, handler: Handler): Promise<void> {
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => socket.destroy());
  socket.setTimeout(REQUEST_MS, () => socket.destroy());
  const answer = (one: Answer): void => void (socket.writable && socket.write(`${JSON.stringify(one)}\n`));
  const line = await firstLine(socket);
  socket.setTimeout(0);
  if (line !== undefined) {
    try {
      await handler(parseRequest(line), answer);
    } catch (error) {
      answer({ kind: 'refused', why: error instanceof Error ? error.message : String(error) });
    }
  }
  socket.end(() => socket.destroy());
  await closed;
}

/** Undefined when there is none, or it is too long. */
function firstLine(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const decoder = new TextDecoder();
    const take = (data: Uint8Array): void => {
      text += decoder.decode(data, { stream: true });
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= LINE_MAX) return;
      socket.off('data', take);
      // What follows is not looked at, and must not wait.
      socket.resume();
      resolve(end < 0 ? undefined : text.slice(0, end));
    };
    socket.on('data', take);
    socket.once('end', () => resolve(undefined));
    socket.once('close', () => resolve(undefined));
  });
}

/** Nobody listens there any more. */
export class Gone extends Error {}

/**
 * Sends a request and gives the answers as they come. Rejects with `Gone` when nobody listens there, and with VmError `unsupported` when
 * there is no answer within `patienceMs`.
 */
export async function* ask(path: string, request: Request, patienceMs: number, signal?: AbortSignal): AsyncGenerator<Answer> {
  const socket = await connected(path);
  const stop = (): void => void socket.destroy();
  signal?.addEventListener('abort', stop, { once: true });
  let late = false;
  socket.setTimeout(patienceMs, () => {
    late = true;
    socket.destroy();
  });
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of linesOf(socket)) {
      const answer = parseAnswer(line);
      if (answer) yield answer;
    }
  } catch (error) {
    if (!late && !signal?.aborted && (error as NodeJS.ErrnoException).code === 'ECONNRESET') throw new Gone();
    if (!late && !signal?.aborted) throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    socket.destroy();
  }
  if (late) throw new VmError('unsupported', `it does not answer within ${Math.round(patienceMs / 1000)} s`);
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    socket.once('connect', () => {
      socket.off('error', reject);
      // Whoever reads gets the error.
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('error', (error: NodeJS.ErrnoException) =>
      reject(['ECONNREFUSED', 'ENOENT', 'ENOTSOCK', 'ECONNRESET'].includes(error.code ?? '') ? new Gone() : error),
    );
  });
}

/** Ends at a line that is too long; the socket goes with whoever stops reading. */
async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const data of socket) {
    const parts = (rest + decoder.decode(data as Uint8Array, { stream: true })).split('\n');
    rest = parts.pop()!;
    for (const line of parts) yield line;
    if (rest.length > LINE_MAX) return;
  }
}
