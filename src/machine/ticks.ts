/** Counting at a fixed frequency in guest time, the same way everywhere, so that devices and the TSC agree. */

/** Whole ticks of `hz` in `ns` nanoseconds. */
export function ticksAt(ns: number, hz: number): number {
  return hz === 1e9 ? Math.floor(ns) : Math.floor((ns * hz) / 1e9);
}

/** The first nanosecond at which `ticksAt` gives at least `tick`. */
export function timeOfTick(tick: number, hz: number): number {
  if (hz === 1e9) return Math.ceil(tick);
  let ns = Math.ceil((tick * 1e9) / hz);
  if (ns > 0 && ticksAt(ns - 1, hz) >= tick) ns--;
  else if (ticksAt(ns, hz) < tick) ns++;
  return ns;
}
