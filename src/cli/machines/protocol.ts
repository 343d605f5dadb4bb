/**
 * What is said over a running machine's control socket: one request, a line of JSON; then answers, a line each, until the other side
 * closes. Both sides belong to one user, but a line may still be anything.
 */
import { VmError } from '../../base/errors.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';

export const LINE_MAX = 1 << 16;

/** What a machine is, as `ps` shows it. */
export interface MachineFacts {
  readonly name: string;
  readonly pid: number;
  readonly verb: 'try' | 'boot';
  /** What runs: a snapshot and its day, or a kernel. */
  readonly of: string;
  /** In milliseconds since 1970. */
  readonly startedMs: number;
  /** What executes its instructions, once it runs. */
  readonly accelerator?: string;
  readonly memoryBytes?: number;
  /** It is kept when it ends, under its name. */
  readonly kept: boolean;
}

export type Request =
  | { readonly do: 'status' }
  /** Presses the power button; after that time, pulls the plug. Answered when it has ended. */
  | { readonly do: 'stop'; readonly timeoutMs: number }
  /** Saves its state and ends: to a file, or, a machine of `try`, under its name. */
  | { readonly do: 'save'; readonly path?: string }
  | { readonly do: 'keep'; readonly as: string };

export type Answer =
  | { readonly kind: 'status'; readonly facts: MachineFacts }
  /** The power button was pressed for the first time. */
  | { readonly kind: 'pressed'; readonly listens: boolean }
  | { readonly kind: 'saved'; readonly sizeBytes: number }
  | { readonly kind: 'kept'; readonly facts: MachineFacts }
  /** It is over; `forced`: the plug was pulled. */
  | { readonly kind: 'ended'; readonly how: string; readonly forced: boolean; readonly kept: boolean }
  | { readonly kind: 'refused'; readonly why: string };

type Fields = Readonly<Record<string, unknown>>;

/** Throws VmError `usage` when it is no request. */
export function parseRequest(line: string): Request {
  const one = fieldsOf(line);
  if (one['do'] === 'status') return { do: 'status' };
  const { timeoutMs, path, as } = one;
  if (one['do'] === 'stop' && isCount(timeoutMs)) return { do: 'stop', timeoutMs };
  if (one['do'] === 'save' && path === undefined) return { do: 'save' };
  if (one['do'] === 'save' && typeof path === 'string' && path !== '' && !path.includes('\0')) return { do: 'save', path };
  if (one['do'] === 'keep' && typeof as === 'string' && isKeptName(as)) return { do: 'keep', as };
  throw new VmError('usage', 'this machine does not know that request: is it of another version of Daybreak?');
}

/** Undefined when it is nothing that this version knows. */
export function parseAnswer(line: string): Answer | undefined {
  const one = fieldsOf(line);
  const { kind, how, why, listens, forced, kept, sizeBytes } = one;
  const facts = parseFacts(one['facts']);
  if ((kind === 'status' || kind === 'kept') && facts) return { kind, facts };
  if (kind === 'pressed' && typeof listens === 'boolean') return { kind, listens };
  if (kind === 'saved' && isCount(sizeBytes)) return { kind, sizeBytes };
  if (kind === 'ended' && typeof how === 'string') return { kind, how, forced: forced === true, kept: kept === true };
  if (kind === 'refused' && typeof why === 'string') return { kind, why };
  return undefined;
}

/** Undefined when they are none. */
export function parseFacts(value: unknown): MachineFacts | undefined {
  const { name, pid, verb, of, startedMs, accelerator, memoryBytes, kept } = (value ?? {}) as Fields;
  if (typeof name !== 'string' || !isKeptName(name) || !isCount(pid) || (verb !== 'try' && verb !== 'boot')) return undefined;
  if (typeof of !== 'string' || !isCount(startedMs)) return undefined;
  return {
    name,
    pid,
    verb,
    of,
    startedMs,
    ...(typeof accelerator === 'string' && { accelerator }),
    ...(isCount(memoryBytes) && { memoryBytes }),
    kept: kept === true,
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function fieldsOf(line: string): Fields {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Fields) : {};
  } catch {
    return {};
  }
}
