/** What a vCPU's exits ask for, as `kvm_run` says it. Documentation/virt/kvm/api.rst, 5. */
import { VmError } from '../../base/errors.ts';
import type { Bus, Width } from '../../machine/bus.ts';
import * as K from './abi.ts';

const { RUN } = K;

export const EXIT_NAMES: Readonly<Record<number, string>> = {
  [K.KVM_EXIT_IO]: 'port',
  [K.KVM_EXIT_MMIO]: 'MMIO',
  [K.KVM_EXIT_HLT]: 'HLT',
  [K.KVM_EXIT_IRQ_WINDOW_OPEN]: 'interrupt window',
  [K.KVM_EXIT_SHUTDOWN]: 'shutdown',
  [K.KVM_EXIT_INTR]: 'signal',
  [K.KVM_EXIT_SET_TPR]: 'task priority',
};

/** An IN or OUT, of several elements when it is a string instruction. */
export function servePort(data: DataView, pio: Bus): void {
  const width = data.getUint8(RUN.ioSize) as Width;
  const port = data.getUint16(RUN.ioPort, true);
  const count = data.getUint32(RUN.ioCount, true);
  const start = data.getUint32(RUN.ioDataOffset, true);
  const write = data.getUint8(RUN.ioDirection) !== 0;
  for (let at = start; at < start + count * width; at += width) {
    if (write) pio.write(port, width, load(data, at, width));
    else store(data, at, width, pio.read(port, width));
  }
}

/** A load or store of up to eight bytes beyond RAM. */
export function serveMmio(data: DataView, mmio: Bus): void {
  const address = data.getUint32(RUN.mmioAddress, true) + data.getUint32(RUN.mmioAddress + 4, true) * 2 ** 32;
  const length = data.getUint32(RUN.mmioLength, true);
  const write = data.getUint8(RUN.mmioIsWrite) !== 0;
  for (let at = 0; at < length;) {
    const left = length - at;
    const width: Width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    if (write) mmio.write(address + at, width, load(data, RUN.mmioData + at, width));
    else store(data, RUN.mmioData + at, width, mmio.read(address + at, width));
    at += width;
  }
}

/** An exit that says what this host's KVM cannot do. */
export function refusal(data: DataView, reason: number, rip: bigint): VmError {
  const at = `at RIP 0x${rip.toString(16)}`;
  if (reason === K.KVM_EXIT_INTERNAL_ERROR && data.getUint32(RUN.suberror, true) === K.KVM_INTERNAL_ERROR_EMULATION) {
    const size = Math.min(data.getUint8(RUN.instructionSize), 15);
    const code = Array.from({ length: size }, (_, n) =>
      data
        .getUint8(RUN.instructionBytes + n)
        .toString(16)
        .padStart(2, '0'),
    );
    return new VmError(
      'unsupported',
      `KVM of this host cannot emulate the instruction ${at} (${code.join(' ')}); --accel jit runs every instruction`,
    );
  }
  if (reason === K.KVM_EXIT_FAIL_ENTRY) {
    const why = data.getBigUint64(RUN.hardwareEntryFailureReason, true).toString(16);
    return new VmError('unsupported', `the processor refuses to enter the guest ${at} (hardware reason 0x${why})`);
  }
  return new VmError('unsupported', `KVM ended with reason ${reason}, suberror ${data.getUint32(RUN.suberror, true)}, ${at}`);
}

function load(data: DataView, at: number, width: Width): number {
  return width === 4 ? data.getUint32(at, true) : width === 2 ? data.getUint16(at, true) : data.getUint8(at);
}

function store(data: DataView, at: number, width: Width, value: number): void {
  if (width === 4) data.setUint32(at, value, true);
  else if (width === 2) data.setUint16(at, value, true);
  else data.setUint8(at, value);
}
