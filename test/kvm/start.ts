/** How guests of a few bytes start. */
import { long64 } from '../../src/firmware/entry-state.ts';
import { PAGE_TABLES } from '../../src/firmware/low-memory.ts';
import type { Memory } from '../../src/machine/memory.ts';
import type { VCpu } from '../../src/machine/vcpu.ts';

/** Where their code goes: beyond what boot protocols use. */
export const CODE = 0x10_0000;
const REAL_CODE = 0x1000;
const STACK = 0x20_0000;
const USER_PAGE = 4;
const CODE_OR_DATA = 0x10;
const DPL3 = 0x60;
const IOPL3 = 0x3000n;

export abstract class StartedGuest {
  abstract readonly memory: Memory;
  /** Has the registers. */
  protected abstract readonly started: VCpu;

  place(gpa: number, bytes: ArrayLike<number>): void {
    this.memory.bytes.set(bytes, this.memory.hostOffset(gpa, bytes.length));
  }

  /** Real mode, code at 0x1000 with all segments at 0, interrupts off. */
  startReal(code: ArrayLike<number>): void {
    this.place(REAL_CODE, code);
    const { segments } = this.started.registers();
    const cs = { ...segments.cs, selector: 0, base: 0n };
    this.started.setRegisters({ segments: { ...segments, cs }, rip: BigInt(REAL_CODE), rflags: 2n });
  }

  /** 64-bit mode with the first 4 GiB mapped onto themselves. */
  startLong(code: ArrayLike<number>): void {
    const { loads, registers } = long64(CODE, { rsp: STACK });
    for (const { gpa, data } of loads) this.place(gpa, data);
    this.place(CODE, code);
    this.started.setRegisters(registers);
  }

  /** User mode of 64-bit mode, over the same addresses; it may use ports. */
  startUser(code: ArrayLike<number>): void {
    this.startLong(code);
    // Every entry of the tables gets the bit that lets users in.
    for (let at = PAGE_TABLES; at < PAGE_TABLES + 6 * 4096; at += 8) {
      const entry = this.memory.read32(at);
      if (entry !== 0) this.memory.write32(at, entry | USER_PAGE);
    }
    const { segments, rflags } = this.started.registers();
    for (const segment of Object.values(segments)) if (segment.attributes & CODE_OR_DATA) segment.attributes |= DPL3;
    segments.cs.selector |= 3;
    segments.ss.selector |= 3;
    this.started.setRegisters({ segments, rflags: rflags | IOPL3 });
  }
}
