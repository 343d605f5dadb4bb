/** Random starting states for cases. */
import { FP, FP_SIZE } from './case.ts';
import { DATA_SIZE } from './layout.ts';
import type { Flavour, Random } from './random.ts';

/** CF PF AF ZF SF DF OF. */
const COMMON_FLAGS = 0x0cd5;
const NT = 1 << 14;
const AC = 1 << 18;
const ID = 1 << 21;
const MXCSR_MASKED = 0x1f80;

/** Flags as POPF at CPL 3 can set them; AC and NT are rare, since AC makes most unaligned accesses fault. */
export function randomFlags(random: Random): number {
  let flags = 2 | (random.u32() & COMMON_FLAGS);
  if (!random.chance(20)) flags &= ~0x400;
  if (random.chance(2)) flags |= AC;
  if (random.chance(2)) flags |= NT;
  if (random.chance(5)) flags |= ID;
  return flags;
}

/** Control and status words most often as programs have them; all reserved bits as the processor wants them. */
export function randomFp(random: Random, flavour: Flavour): Uint8Array {
  const fp = new Uint8Array(FP_SIZE);
  const words = new Uint16Array(fp.buffer);
  let control = 0x0340 | 0x3f;
  if (random.chance(60)) control = 0x40 | 0x3f | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10);
  if (random.chance(10)) control &= ~random.below(0x40);
  // A status word with an unmasked exception pending would end most cases at once.
  const pending = random.chance(30) ? random.below(0x80) & (random.chance(3) ? 0x7f : control | 0x40) : 0;
  words[FP.fcw / 2] = control;
  words[FP.fsw / 2] = pending | (random.below(8) << 11) | (random.u32() & 0x4700) | (pending & ~control & 0x3f ? 0x8080 : 0);
  fp[FP.ftw] = random.chance(60) ? 0xff : random.u32();
  let mxcsr = MXCSR_MASKED;
  if (random.chance(60)) mxcsr |= (random.below(4) << 13) | (random.chance(15) ? 0x8000 : 0) | (random.chance(15) ? 0x40 : 0);
  if (random.chance(8)) mxcsr &= ~(random.below(0x40) << 7);
  if (random.chance(30)) mxcsr |= random.below(0x40);
  words[FP.mxcsr / 2] = mxcsr;
  words[FP.mxcsrMask / 2] = 0xffff;
  fp[FP.header] = 7;
  const mmx = random.chance(20);
  for (let i = 0; i < 8; i++) {
    random.float80(fp, FP.st + 16 * i);
    if (mmx) random.scatter(fp, FP.st + 16 * i, 8, 'bytes');
  }
  random.scatter(fp, FP.xmm, 256, flavour);
  random.scatter(fp, FP.ymmHigh, 256, flavour);
  return fp;
}

/** A data window of mixed contents. */
export function randomImage(random: Random): Uint8Array {
  const image = new Uint8Array(DATA_SIZE);
  for (let at = 0; at < DATA_SIZE; at += 64) {
    random.scatter(image, at, 64, random.pick(['integer', 'bytes', 'float32', 'float64', 'float80'] as const));
  }
  return image;
}

/** What kind of data makes an instruction work hard, by its name. */
export function flavourOf(mnemonic: string): Flavour {
  if (/^f/i.test(mnemonic)) return 'float80';
  if (/^v?(pcmp|mov|pack|punpck|aes|sha|padd|psub|pmul|pa|ps|pmax|pmin)/i.test(mnemonic)) return 'bytes';
  if (/(ps|ss)[0-9a-z]?$/i.test(mnemonic)) return 'float32';
  if (/(pd|sd)[0-9a-z]?$/i.test(mnemonic)) return 'float64';
  if (/cvt(t)?(ps|ss)/i.test(mnemonic)) return 'float32';
  if (/cvt(t)?(pd|sd)/i.test(mnemonic)) return 'float64';
  if (/ma(dd|ddsub)?\d+(ps|ss)/i.test(mnemonic)) return 'float32';
  return 'integer';
}
