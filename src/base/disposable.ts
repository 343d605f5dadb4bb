/** Something that holds a host resource until told to let go. `dispose` is idempotent. */
export interface Disposable {
  dispose(): void;
}
