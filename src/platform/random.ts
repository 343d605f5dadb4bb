/** Random bytes good enough for keys. */
export interface Random {
  fill(into: Uint8Array): void;
}
