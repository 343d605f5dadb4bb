/** The time-stamp counter: guest time in nanoseconds, which follows the instructions executed. */
import * as L from './layout';

/** TSC at a record that is about to run. */
export function timeStamp(record: u32): u64 {
  const left = <f64>((load<i32>(L.DEADLINE) - <i32>record) / L.RECORD_BYTES);
  const executed = load<f64>(L.TIME_AT_DEADLINE) - left;
  const time = load<f64>(L.TIME_BASE) + floor((executed - load<f64>(L.TIME_START)) * load<f64>(L.TIME_RATE));
  return <u64>time + load<u64>(L.TSC_OFFSET);
}
