/** A processor's state moves between our processor and KVM, and loses nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VmError } from '../../src/base/errors.ts';
import { bareHost } from '../../src/machine/bare-host.ts';
import { Memory } from '../../src/machine/memory.ts';
import { type ProcessorState, processorState } from '../../src/machine/processor-state.ts';
import type { VCpu } from '../../src/machine/vcpu.ts';
import { interpreter } from '../../src/x86/accelerator.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import { Guest, openKvm, type Kvm } from './guest.ts';
import { CODE } from './start.ts';

const SECOND = 1e9;
const MIB = 1 << 20;
let kvm: Kvm | undefined;
let runtime: WebAssembly.Module;

beforeAll(async () => {
  kvm = await openKvm();
  runtime = await compileRuntime();
}, 600_000);
afterAll(() => kvm?.accelerator.dispose());

/** Our processor without a machine around it. */
function ours(): { vcpu: VCpu; memory: Memory } {
  const accelerator = interpreter(runtime);
  const memory = new Memory(4 * MIB, accelerator.reservedBytes);
  const vcpu = accelerator.createVCpu(bareHost(memory));
  return { vcpu, memory };
}

/** Every register with a value of its own, where the architecture allows any. */
function distinct(state: ProcessorState): ProcessorState {
  const fill = (n: number): bigint => 0x1122_3344_0000_0000n + BigInt(n) * 0x101_0101n;
  state.gpr = state.gpr.map((_, n) => fill(n));
  state.dr = [0x1000n, 0x2000n, 0x3000n, 0x4000n, state.dr[4]!, state.dr[5]!];
  Object.assign(state.msrs, { lstar: 0xffff_8000_0000_1000n, kernelGsBase: 0x7000n, star: 0x0023_0010_0000_0000n, fmask: 0x700n });
  Object.assign(state.msrs, { sysenterCs: 0x10n, sysenterEsp: 0x8000n, sysenterEip: 0x9000n });
  state.segments.fs.base = 0x1234_5000n;
  state.cr2 = 0xdead_b000n;
  const x = new DataView(state.xsave.buffer, state.xsave.byteOffset);
  x.setUint16(0, 0x27f, true); // FCW
  x.setUint16(2, 0x3800 | 0x100, true); // FSW: TOP 7, C0
  x.setUint8(4, 0x80); // R7 valid
  x.setBigUint64(32, 0xc000_0000_0000_0000n, true);
  x.setUint16(40, 0x4000, true);
  x.setUint32(24, 0x1fa0, true); // MXCSR
  for (let n = 0; n < 32; n++) x.setBigUint64(160 + n * 8, fill(100 + n), true);
  return state;
}

/** Time goes on, and is not compared. */
const still = (state: ProcessorState): ProcessorState => ({ ...state, tsc: 0n });

describe('the state of a processor', () => {
  test('goes from our processor to KVM and back, equal in every field', (context) => {
    if (!kvm) return context.skip('no KVM here');
    const guest = new Guest(kvm);
    guest.startLong([0xf4]);
    const { vcpu } = ours();
    const start = guest.vcpu.architecture();
    vcpu.setArchitecture(distinct(start));
    const before = vcpu.architecture();
    expect(still(before)).toEqual(still(start));
    guest.vcpu.setArchitecture(structuredClone(before));
    const under = guest.vcpu.architecture();
    expect(still(under)).toEqual(still(before));
    vcpu.setArchitecture(under);
    expect(still(vcpu.architecture())).toEqual(still(before));
    guest.vcpu.dispose();
  });

  test('as saved data is refused when it is damaged, and changes nothing', (context) => {
    if (!kvm) return context.skip('no KVM here');
    const guest = new Guest(kvm);
    guest.startLong([0xf4]);
    const saved = guest.vcpu.save() as Record<string, unknown>;
    expect(() => guest.vcpu.restore({ ...saved, xsave: new Uint8Array(3) })).toThrow(VmError);
    guest.vcpu.restore(structuredClone(saved));
    expect(processorState.save(still(guest.vcpu.architecture()))).toEqual({ ...saved, tsc: 0n });
    guest.vcpu.dispose();
  });

  test('lets a program begin under one, go on under the other, and end under the first', (context) => {
    if (!kvm) return context.skip('no KVM here');
    // add rax, rcx; dec rcx; jnz; hlt, three times: the sum of 1 to 1000, each time on top.
    const part = [0xb9, 0xe8, 3, 0, 0, 0x48, 0x01, 0xc8, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0xf4];
    const program = [...part, ...part, ...part];
    const guest = new Guest(kvm);
    guest.startLong(program);
    const { vcpu, memory } = ours();
    const sum = (count: number): bigint => 500_500n * BigInt(count);
    const move = (to: VCpu, from: VCpu): void => to.setArchitecture({ ...from.architecture(), halted: false });

    const first = guest.memory.view(0, 4 * MIB)!;
    memory.view(0, 4 * MIB)!.set(first);
    move(vcpu, guest.vcpu);
    expect(vcpu.run(1e6)).toEqual({ kind: 'halt' });
    expect(vcpu.registers().gpr[0]).toBe(sum(1));
    move(guest.vcpu, vcpu);
    expect(guest.vcpu.run(10 * SECOND)).toEqual({ kind: 'halt' });
    expect(guest.vcpu.registers().gpr[0]).toBe(sum(2));
    move(vcpu, guest.vcpu);
    expect(vcpu.run(1e6)).toEqual({ kind: 'halt' });
    expect(vcpu.registers()).toMatchObject({ rip: BigInt(CODE + program.length) });
    expect(vcpu.registers().gpr[0]).toBe(sum(3));
    guest.vcpu.dispose();
  });
});

describe('what KVM cannot execute', () => {
  /** A host with hardware virtualisation executes it itself: the result is the same. */
  test('our processor executes, and the guest goes on under KVM with all that it did', (context) => {
    if (!kvm) return context.skip('no KVM here');
    const accelerator = new KvmAccelerator(kvm.native, { completer: interpreter(runtime) });
    const guest = new Guest({ accelerator });
    const seen: number[] = [];
    guest.pio.map(0x10, 4, 'device', { read: () => 0, write: (_offset, _width, value) => void seen.push(value) });
    // CR4.OSFXSR and OSXMMEXCPT, for SSE.
    const sse = [0x0f, 0x20, 0xe0, 0x66, 0x0d, 0, 6, 0x0f, 0x22, 0xe0];
    guest.startLong([
      ...sse,
      ...[0xb8, 0xff, 0x0f, 0, 0], // mov eax, 0xfff
      ...[0xf3, 0x0f, 0xb8, 0xc0], // popcnt eax, eax
      ...[0xe7, 0x10], // out 0x10, eax
      ...[0xf3, 0x0f, 0x2a, 0xc0], // cvtsi2ss xmm0, eax
      ...[0xf3, 0x0f, 0x58, 0xc0], // addss xmm0, xmm0
      ...[0xf3, 0x0f, 0x2c, 0xc0], // cvttss2si eax, xmm0
      ...[0xe7, 0x10],
      0xf4,
    ]);
    expect(guest.vcpu.run(10 * SECOND)).toEqual({ kind: 'halt' });
    expect(seen).toEqual([12, 24]);
    console.log(`completed by our processor: ${guest.vcpu.counts.instructions}`);
    accelerator.dispose();
  });

  test('ends a machine without our processor, with the instruction in the message', (context) => {
    if (!kvm) return context.skip('no KVM here');
    const guest = new Guest(kvm);
    guest.startLong([0xf3, 0x0f, 0xb8, 0xc0, 0xf4]);
    let ended: unknown;
    try {
      ended = guest.vcpu.run(SECOND);
    } catch (error) {
      ended = error;
    }
    guest.vcpu.dispose();
    // With hardware virtualisation there is nothing to say.
    if (ended instanceof VmError) expect(ended.message).toMatch(/0x100000 \(f3 0f b8 c0/);
    else expect(ended).toEqual({ kind: 'halt' });
  });
});
