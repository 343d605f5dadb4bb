/** Reader of `ar` archives (ar(5), common format), the outer shell of a .deb. Input is untrusted. */
import { VmError } from '../base/errors.ts';

const MAGIC = '!<arch>\n';
const HEADER_BYTES = 60;

export interface ArMember {
  readonly name: string;
  readonly data: Uint8Array;
}

const latin1 = new TextDecoder('latin1');

/** Members in order, as views into `data`. `name` is for the message. Throws `bad-image`. */
export function* readAr(name: string, data: Uint8Array): Generator<ArMember> {
  const bad = (what: string): never => {
    throw new VmError('bad-image', `${name}: not a sound ar archive: ${what}`);
  };
  if (latin1.decode(data.subarray(0, MAGIC.length)) !== MAGIC) bad('it does not begin with "!<arch>"');
  for (let at = MAGIC.length; at < data.length;) {
    const header = latin1.decode(data.subarray(at, at + HEADER_BYTES));
    if (header.length < HEADER_BYTES || header.slice(58) !== '`\n') bad(`no member header at byte ${at}`);
    const sizeText = header.slice(48, 58).trimEnd();
    if (!/^\d+$/.test(sizeText)) bad(`member size "${sizeText}" at byte ${at}`);
    const size = Number(sizeText);
    const start = at + HEADER_BYTES;
    if (start + size > data.length) bad(`the member at byte ${at} is cut short`);
    yield { name: header.slice(0, 16).trimEnd().replace(/\/$/, ''), data: data.subarray(start, start + size) };
    at = start + size + (size & 1);
  }
}
