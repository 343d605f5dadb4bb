/** Memory that the guest can give back. VIRTIO 1.2, 5.5. */
import type { PageReclaimer } from '../../../machine/backends.ts';
import type { Width } from '../../../machine/bus.ts';
import { defineState, u32 } from '../../../machine/state.ts';
import type { StateOf } from '../../../machine/state.ts';
import type { Chain } from '../chain.ts';
import { featureSet } from '../virtio-device.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';

const F_STATS = 1;
const F_DEFLATE_ON_OOM = 2;
const F_FREE_PAGE_HINT = 3;
const F_PAGE_REPORTING = 5;

const INFLATE = 0;
const STATS = 2;
const QUEUE_SIZE = 128;
const PAGE = 4096;

const CONFIG_NUM_PAGES = 0;
const CONFIG_ACTUAL = 4;
const CONFIG_SIZE = 16;

/** Linux names at most 256 pages at once. */
const MAX_LISTED = 4096;

export const virtioBalloonState = defineState('virtio-balloon', 1, {
  /** Pages that the host wants, and that the driver says it gave. */
  target: u32(),
  actual: u32(),
});

/**
 * Takes pages by inflating, and learns of free ones by reporting. Statistics and hints are offered because drivers number
 * the reporting queue after theirs; they are not asked for (a hint command of 0 means "stop").
 */
export class VirtioBalloon implements VirtioDevice<StateOf<typeof virtioBalloonState>> {
  readonly name = 'virtio-balloon';
  readonly deviceId = 5;
  readonly classCode = 0xff0000;
  readonly features = featureSet(F_STATS, F_DEFLATE_ON_OOM, F_FREE_PAGE_HINT, F_PAGE_REPORTING);
  /** Inflate, deflate, statistics, hints, reporting. */
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE];
  readonly config = new Uint8Array(CONFIG_SIZE);
  readonly schema = virtioBalloonState;
  readonly state = virtioBalloonState.create();
  readonly #pages: PageReclaimer;
  #transport: VirtioTransport | undefined;

  constructor(pages: PageReclaimer) {
    this.#pages = pages;
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  notify(index: number): void {
    if (index === STATS) return; // the driver's statistics stay with us: giving the buffer back asks for new ones
    const queue = this.#transport!.queues[index]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (index === INFLATE) this.#takeListed(chain);
      else chain.eachWritable((gpa, length) => this.#release(gpa, length));
      queue.push(chain, 0);
    }
    queue.signal();
  }

  /** Page numbers of 4 KiB pages; what is not RAM is passed over. */
  #takeListed(chain: Chain): void {
    const list = new DataView(new ArrayBuffer(Math.min(4 * MAX_LISTED, chain.readableBytes & ~3)));
    chain.read(0, new Uint8Array(list.buffer));
    for (let at = 0; at < list.byteLength; at += 4) this.#release(list.getUint32(at, true) * PAGE, PAGE);
  }

  #release(gpa: number, length: number): void {
    const first = Math.ceil(gpa / PAGE) * PAGE;
    const end = Math.floor((gpa + length) / PAGE) * PAGE;
    if (end > first && this.#transport!.isRam(first, end - first)) this.#pages.release(first, end - first);
  }

  /** Asks the driver for this much memory, as an input of the machine. */
  setTarget(bytes: number): void {
    this.state.target = Math.floor(bytes / PAGE);
    this.#show();
    this.#transport!.configChanged();
  }

  writeConfig(offset: number, width: Width, value: number): void {
    if (offset !== CONFIG_ACTUAL || width !== 4) return;
    this.state.actual = value;
    this.#show();
  }

  #show(): void {
    const view = new DataView(this.config.buffer);
    view.setUint32(CONFIG_NUM_PAGES, this.state.target, true);
    view.setUint32(CONFIG_ACTUAL, this.state.actual, true);
  }

  reset(): void {
    this.state.actual = 0;
    this.#show();
  }

  sync(): void {
    this.#show();
  }
}
