export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Where a component reports what is worth knowing; passed in, never global. */
export interface Log {
  (level: LogLevel, component: string, message: string): void;
}

export const silent: Log = () => {};
