/**
 * A PC's saved state: what it says of the machine, and whether a machine is the one that it was. Chips come as a list in
 * the board's order; each checks its own data.
 */
import { VmError } from '../base/errors.ts';
import type { BlockBackend, SharedFileSystem } from '../machine/backends.ts';
import { saveDevice, type Device } from '../machine/device.ts';
import { processorState, type ProcessorState, STARTED } from '../machine/processor-state.ts';
import { openState, type OpenedState } from '../machine/saved-state-file.ts';
import { badState, type ByteSource, type StateCodec } from '../machine/saved-state.ts';
import { bool, count, defineState, list, struct, text, u32, type Field, type StateOf } from '../machine/state.ts';
import type { Accelerator, CpuIdentity } from '../machine/vcpu.ts';

const BOARD = 'pc';
const PROCESSORS_MAX = 255;
/** A host's own processor, whatever it is. */
const HOST_CPU = 'host';

/** Checked later, by the schema of whom it belongs to. */
const anything: Field<unknown> = { describe: 'data', create: () => null, save: (value) => value, load: (data) => data };

const pcState = defineState('machine', 1, {
  board: text(16, BOARD),
  memoryBytes: count(),
  cpu: struct({ name: text(64), features: list(256, text(32)), tscKhz: count() }),
  /** Guest time, and the wall clock's at that moment in milliseconds since 1970. */
  clockNs: count(),
  wallMs: count(),
  disks: list(64, struct({ sectors: count(), readOnly: bool(), identity: text(256) })),
  fileSystems: list(64, struct({ tag: text(36), identity: text(256) })),
  /** By APIC id. */
  processors: list(PROCESSORS_MAX, struct({ version: u32(), data: anything })),
  devices: list(1024, struct({ name: text(64), version: u32(), data: anything })),
});

type PcState = StateOf<typeof pcState>;

/** A state that has been opened and makes sense as a PC's; whether it fits a machine is found out by `fit`. */
export interface SavedPc extends PcState {
  /** For messages. */
  readonly name: string;
  readonly opened: OpenedState;
}

/** Throws `bad-state` for a file that is damaged, of another version, or of another board. */
export function readSavedPc(source: ByteSource, codec: StateCodec): SavedPc {
  const opened = openState(source, codec);
  try {
    const state = pcState.load(opened.description);
    if (state.board !== BOARD) throw new VmError('bad-state', `a machine of kind ${state.board} (known: ${BOARD})`);
    if (state.processors.length === 0) throw new VmError('bad-state', 'a machine without a processor');
    return { ...state, name: source.name, opened };
  } catch (cause) {
    throw inFile(source.name, cause);
  }
}

/** Names the file that a `bad-state` error is about, or one that says what the processor here lacks. */
export function inFile(name: string, error: unknown): unknown {
  if (error instanceof VmError && error.code === 'unsupported') return badState(name, error.message, error);
  if (!(error instanceof VmError) || error.code !== 'bad-state' || error.message.startsWith(`${name}: `)) return error;
  return badState(name, `the saved state does not fit this Daybreak (${error.message}); save it again with this one`, error);
}

/** What a machine is made of, as far as a state must agree with it. */
export interface PcParts {
  readonly memoryBytes: number;
  readonly cpu: CpuIdentity;
  readonly cpus: number;
  readonly disks: readonly BlockBackend[];
  readonly fileSystems: readonly SharedFileSystem[];
  readonly devices: readonly Device[];
}

/** The machine's description for its state. It stands still, and its disks are written out. */
export async function describePc(
  { memoryBytes, cpu, disks, fileSystems, devices }: PcParts,
  now: { readonly clockNs: number; readonly wallMs: number; readonly processors: readonly ProcessorState[] },
): Promise<unknown> {
  return pcState.save({
    board: BOARD,
    memoryBytes,
    cpu: { ...cpu, features: [...cpu.features] },
    clockNs: now.clockNs,
    wallMs: now.wallMs,
    disks: await Promise.all(disks.map(identify)),
    fileSystems: await Promise.all(fileSystems.map(async ({ tag, backend }) => ({ tag, identity: await backend.identity() }))),
    processors: now.processors.map((one) => ({ version: processorState.version, data: processorState.save(one) })),
    devices: devices.map((device) => ({ name: device.schema.name, version: device.schema.version, data: saveDevice(device) })),
  });
}

async function identify(disk: BlockBackend): Promise<PcState['disks'][number]> {
  return { sectors: disk.sectors, readOnly: disk.readOnly, identity: (await disk.identity?.()) ?? '' };
}

/** Rejects with `bad-state` when the machine is not the one that was saved; says what would work. */
export async function checkFit(saved: SavedPc, { memoryBytes, cpu, cpus, disks, fileSystems, devices }: PcParts): Promise<void> {
  const { name } = saved;
  if (saved.memoryBytes !== memoryBytes) {
    const [was, is] = [saved.memoryBytes, memoryBytes].map((size) => `${size / 2 ** 20} MiB`);
    throw badState(name, `the machine was saved with ${was} of memory, this one has ${is}: leave --memory out`);
  }
  checkCpu(saved, cpu);
  if (saved.processors.length !== cpus) {
    const was = some(saved.processors.length, 'processor');
    throw badState(name, `the machine was saved with ${was}, this one has ${cpus}: leave --cpus out`);
  }
  if (saved.disks.length !== disks.length) {
    throw badState(
      name,
      `the machine was saved with ${some(saved.disks.length, 'disk')}, this one has ${disks.length}: give the same disks in the same order`,
    );
  }
  for (const [n, disk] of disks.entries()) checkDisk(`${name}: disk ${n + 1}`, saved.disks[n]!, await identify(disk));
  for (const [n, { tag, backend }] of fileSystems.entries()) {
    const was = saved.fileSystems[n];
    if (!was || (was.tag === tag && was.identity === (await backend.identity()))) continue;
    throw badState(
      name,
      `the file system ${was.tag} was another one, or has changed since the machine was saved (it is ${tag} now): give the same one, unchanged`,
    );
  }
  const [was, is] = [saved.devices, devices.map(({ schema }) => schema)];
  if (was.map((one) => one.name).join() !== is.map((one) => one.name).join()) {
    const extra = was.filter((one) => !is.some((other) => other.name === one.name)).map((one) => one.name);
    const lacks = is.filter((one) => !was.some((other) => other.name === one.name)).map((one) => one.name);
    const differ =
      [...extra.map((one) => `had ${one}`), ...lacks.map((one) => `had no ${one}`)].join(', ') || 'had others of the same kinds';
    throw badState(name, `the machine was saved with other devices (it ${differ}): start it with the options that it was saved with`);
  }
  for (const [n, { version }] of is.entries()) {
    if (was[n]!.version !== version) throw badState(name, otherVersion(was[n]!.name, was[n]!.version, version));
  }
  const other = saved.processors.find(({ version }) => version !== processorState.version);
  if (other) throw badState(name, otherVersion('processor', other.version, processorState.version));
}

/** How many processors the machine has. Throws `bad-state` when that accelerator cannot have so many. */
export function processorsFor({ name, processors: { length } }: SavedPc, accelerator: Accelerator): number {
  if (length === 1 || accelerator.createWithChips) return length;
  throw badState(name, `the machine has ${some(length, 'processor')}, and ${accelerator.name} has one: go on under KVM (--accel kvm)`);
}

/** Each processor's state, by APIC id. Throws `bad-state`. */
export function processorsOf({ name, processors }: SavedPc): ProcessorState[] {
  const states = processors.map(({ data }) => processorState.load(data));
  if (states[0]?.startup === STARTED) return states;
  throw badState(name, `its first processor has not started, which no machine's has: the file is damaged`);
}

const some = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;

function otherVersion(what: string, found: number, supported: number): string {
  return `the state of its ${what} has version ${found} (supported: ${supported}); save it again with this Daybreak`;
}

/** Names do not matter: what the guest has seen does. */
function checkCpu({ name, cpu: was }: SavedPc, is: CpuIdentity): void {
  const differ = [
    ...was.features.filter((feature) => !is.features.includes(feature)).map((one) => `without ${one}`),
    // The host's own processor may have learned something by an update of its kernel.
    ...is.features.filter((feature) => is.name !== HOST_CPU && !was.features.includes(feature)).map((one) => `with ${one}`),
    ...(was.tscKhz === is.tscKhz ? [] : [`with a TSC of ${is.tscKhz} instead of ${was.tscKhz} kHz`]),
  ];
  if (differ.length === 0) return;
  const told = differ.length > 8 ? `${differ.slice(0, 8).join(', ')}, and more` : differ.join(', ');
  throw badState(name, `the machine was saved with CPU model ${was.name}, this one has ${is.name} (${told}): leave --cpu out`);
}

function checkDisk(where: string, was: PcState['disks'][number], is: PcState['disks'][number]): void {
  if (was.sectors !== is.sectors) {
    throw new VmError(
      'bad-state',
      `${where}: it had ${was.sectors} sectors when the machine was saved, and has ${is.sectors}: give the same disk`,
    );
  }
  if (was.readOnly !== is.readOnly) {
    const now = was.readOnly ? 'read-only, and is not now: add ,ro' : 'writable, and is read-only now: leave ,ro out';
    throw new VmError('bad-state', `${where}: it was ${now}`);
  }
  if (was.identity === is.identity) return;
  throw new VmError(
    'bad-state',
    `${where}: it has changed since the machine was saved (then ${was.identity || 'unknown'}, now ${is.identity || 'unknown'}), and going on ` +
      `would destroy its file system: give the disk as it was (a copy with its time of change, cp -p, will do), or start the machine anew`,
  );
}
