/** The MC146818A's time registers: BCD or binary, 12 or 24 hours. Data sheet, table 3. */
const SECONDS = 0;
const SECONDS_ALARM = 1;
const MINUTES = 2;
const MINUTES_ALARM = 3;
const HOURS = 4;
const HOURS_ALARM = 5;
const DAY_OF_WEEK = 6;
const DAY = 7;
const MONTH = 8;
const YEAR = 9;
const CENTURY = 0x32;

const DM_BINARY = 1 << 2;
const H24 = 1 << 1;
const PM = 0x80;
/** An alarm byte from 0xc0 on matches everything. */
const DONT_CARE = 0xc0;
const DAY_SECONDS = 86_400;

export const isTimeRegister = (index: number): boolean => index === CENTURY || (index <= YEAR && (index % 2 === 0 || index > HOURS_ALARM));

const toStored = (value: number, mode: number): number => (mode & DM_BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10));
const fromStored = (byte: number, mode: number): number => (mode & DM_BINARY ? byte : (byte >> 4) * 10 + (byte & 15));

function hourFromStored(byte: number, mode: number): number {
  if (mode & H24) return fromStored(byte, mode);
  return (fromStored(byte & ~PM, mode) % 12) + (byte & PM ? 12 : 0);
}

/** Writes a time, in milliseconds since 1970, into the registers. `mode` is register B. */
export function encodeTime(milliseconds: number, ram: Uint8Array, mode: number): void {
  const time = new Date(milliseconds);
  const hour = time.getUTCHours();
  ram[SECONDS] = toStored(time.getUTCSeconds(), mode);
  ram[MINUTES] = toStored(time.getUTCMinutes(), mode);
  ram[HOURS] = mode & H24 ? toStored(hour, mode) : toStored(hour % 12 || 12, mode) | (hour >= 12 ? PM : 0);
  ram[DAY_OF_WEEK] = time.getUTCDay() + 1;
  ram[DAY] = toStored(time.getUTCDate(), mode);
  ram[MONTH] = toStored(time.getUTCMonth() + 1, mode);
  ram[YEAR] = toStored(time.getUTCFullYear() % 100, mode);
  ram[CENTURY] = toStored(Math.floor(time.getUTCFullYear() / 100), mode);
}

/** The time in the registers, in milliseconds since 1970; what lies before 1970 gives 0, fields out of range carry over. */
export function decodeTime(ram: Uint8Array, mode: number): number {
  const field = (index: number) => fromStored(ram[index]!, mode);
  const year = field(CENTURY) * 100 + field(YEAR);
  const time = Date.UTC(year, field(MONTH) - 1, field(DAY), hourFromStored(ram[HOURS]!, mode), field(MINUTES), field(SECONDS));
  return Number.isFinite(time) ? Math.max(0, time) : 0;
}

/** The first second after `second` (since 1970) that matches the alarm; Infinity when none does. */
export function nextAlarm(second: number, ram: Uint8Array, mode: number): number {
  const matches = (byte: number, value: number) => byte >= DONT_CARE || fromStored(byte, mode) === value;
  const hours = ram[HOURS_ALARM]!;
  const midnight = second - (second % DAY_SECONDS);
  for (const from of [(second % DAY_SECONDS) + 1, DAY_SECONDS]) {
    const day = from === DAY_SECONDS ? midnight + DAY_SECONDS : midnight;
    const first = from % DAY_SECONDS;
    for (let h = Math.floor(first / 3600); h < 24; h++) {
      if (hours < DONT_CARE && hourFromStored(hours, mode) !== h) continue;
      for (let m = h * 3600 < first ? Math.floor((first % 3600) / 60) : 0; m < 60; m++) {
        if (!matches(ram[MINUTES_ALARM]!, m)) continue;
        for (let s = Math.max(0, first - h * 3600 - m * 60); s < 60; s++) {
          if (matches(ram[SECONDS_ALARM]!, s)) return day + h * 3600 + m * 60 + s;
        }
      }
    }
  }
  return Infinity;
}
