/** `--jit-log` and `--symbols`: what watches the compiler of a machine that a verb starts. */
import { VmError } from '../base/errors.ts';
import type { Files } from '../platform/files.ts';
import type { CompilerObserver } from '../x86/compiler/observer.ts';
import { text, type ParsedArguments } from './arguments.ts';
import { FileOutput } from './file-output.ts';
import { JitLog } from './jit-log.ts';
import { Symbols } from './symbols.ts';

export interface CompilerWatch {
  /** Undefined when nobody watches. */
  readonly observer: CompilerObserver | undefined;
  /** Where its names are from. */
  readonly symbolsPath: string | undefined;
  /** Completes the log. Rejects when it could not be written. */
  close(): Promise<void>;
}

/** Throws VmError when a file cannot be read or made. */
export async function watchCompiler(files: Files, values: ParsedArguments['values']): Promise<CompilerWatch> {
  const [logPath, symbolsPath] = [text(values, 'jit-log'), text(values, 'symbols')];
  if ((logPath ?? symbolsPath) !== undefined && text(values, 'accel') === 'interpreter') {
    throw new VmError('usage', '--accel interpreter: it has no compiler that --jit-log or --symbols could be about');
  }
  const symbols = symbolsPath === undefined ? undefined : await readSymbols(files, symbolsPath);
  const output = logPath === undefined ? undefined : new FileOutput(await files.append(logPath, 0));
  const log = output && new JitLog((data) => output.write(data));
  const observer: CompilerObserver = {
    ...(log && { onEvent: (event) => log.event(event) }),
    ...(symbols && { nameOf: (linear) => symbols.nameOf(linear) }),
  };
  return {
    observer: log || symbols ? observer : undefined,
    symbolsPath,
    close: async () => {
      log?.flush();
      await output?.close();
    },
  };
}

/** Rejects with `not-found` or `bad-image`. */
export async function readSymbols(files: Files, path: string): Promise<Symbols> {
  const data = await files.read(path);
  if (!data) throw new VmError('not-found', `--symbols ${path}: it does not exist`);
  return new Symbols(new TextDecoder().decode(data), path);
}
