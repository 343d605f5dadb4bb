/**
 * The one way in for what is not a function of the machine's state: a finished disk request, a key, a packet.
 * The machine runs posted inputs between two instructions of the guest, in the order of posting, so that they can
 * be recorded and replayed. An input must not throw.
 */
export interface Door {
  post(input: () => void): void;
}
