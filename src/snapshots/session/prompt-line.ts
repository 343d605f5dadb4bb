/** What is typed for a person at the prompt of a machine that has just come there. */

export interface PromptLine {
  readonly nonce: string;
  /** A command and its arguments instead of the person's shell. */
  readonly command?: readonly string[];
  /** The terminal's type. */
  readonly term?: string;
  /** No person at the console: no echo, and lines end with LF alone. */
  readonly plain: boolean;
  /** The machine goes on from a state, and others do so too: it gets an identity of its own. */
  readonly resumed: boolean;
}

/** Binds network cards anew, since Linux's driver asks a card for its address only then; udev and the network's service do the rest. For any POSIX shell. */
export const NEW_NETWORK_ADDRESS =
  'for x in /sys/bus/virtio/drivers/virtio_net/virtio*; do [ -e "$x" ] && for d in unbind bind; do echo "${x##*/}" >"${x%/*}/$d"; done; done';
/** For bash, which runs no program for it. A system that has none yet makes its own. */
const NEW_MACHINE_ID = '[ -s /etc/machine-id ] && read -r x </proc/sys/kernel/random/uuid && echo "${x//-/}" >/etc/machine-id';

/** By the real-time clock, which shows the host's time. */
const SET_CLOCK = 'date -us @$(</sys/class/rtc/rtc0/since_epoch) >/dev/null 2>&1';

/** Lines that may still be in the way of the one that powers off. */
const LINES_MAX = 99_999;

/**
 * What is typed at the prompt of a root shell (bash) of a machine that has just come here: sets the guest's clock by its real-time
 * clock, since it may have stood still, gives it its identity, and lets the shell or the command say how it ended. Then the guest waits to be ended, or for
 * `powerOffLine`: whether what it has written is wanted need not be known before.
 */
export function promptLine({ nonce, command, term, plain, resumed }: PromptLine): string {
  const set = [SET_CLOCK];
  if (resumed) set.push(NEW_MACHINE_ID, NEW_NETWORK_ADDRESS, 'unset x d');
  set.push(...terminalType(term));
  if (plain) set.push('stty -echo -opost');
  const begin = `printf '\\035${nonce}'`;
  const end = `printf '\\036${nonce} %d\\n'`;
  // Input that nobody has read, and its end, come first; and a key that interrupts must not end it.
  const wait = `trap : INT QUIT; for ((n = 0; n < ${LINES_MAX}; n++)); do read -r x; [ "$x" = off-${nonce} ] && systemctl poweroff && break; done`;
  if (!command) return ` ${set.join('; ')}; trap '${end.replaceAll("'", '"')} "$?"; ${wait}' EXIT; ${begin}\n`;
  // A shell of its own: the key that ends the command must not end what comes behind it.
  const script = `trap : INT QUIT; ${begin}; "$@"; ${end} "$?"; ${wait}`.replaceAll("'", '"');
  return ` ${set.join('; ')}; bash -c '${script}' daybreak ${command.map(quoted).join(' ')}\n`;
}

/**
 * What is typed at the prompt of a shell that `promptLine` has begun and that was saved there: its clock has stood still, and its terminal may be
 * another. The shell is still to tell how it ends.
 */
export function againLine({ nonce, term }: Pick<PromptLine, 'nonce' | 'term'>): string {
  return ` ${[SET_CLOCK, ...terminalType(term), `printf '\\035${nonce}'`].join('; ')}\n`;
}

function terminalType(term: string | undefined): string[] {
  return term !== undefined && /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/.test(term) ? [`export TERM=${term}`] : [];
}

/** Typed when that has ended: shuts the guest down, so that all that was written is written out. */
export function powerOffLine(nonce: string): string {
  return `off-${nonce}\n`;
}

/** A word for bash. The line editor would take a control character as a key, so none is in it. */
function quoted(word: string): string {
  const bytes = [...new TextEncoder().encode(word)];
  return `$'${bytes.map((byte) => (isPlain(byte) ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`)).join('')}'`;
}

function isPlain(byte: number): boolean {
  return /[A-Za-z0-9 _.,:;/=+@%-]/.test(String.fromCharCode(byte));
}
