/** The vendor capabilities that tell where the virtio structures are: VIRTIO 1.2, 4.1.4. */
import type { Width } from '../../machine/bus.ts';
import type { Msix } from '../pci/msix.ts';
import type { PciFunction } from '../pci/pci-function.ts';
import { CAPABILITY_VENDOR } from '../pci/registers.ts';
import { COMMON_CONFIG_SIZE } from './common-config.ts';
import { COMMON_PAGE, DEVICE_PAGE, ISR_PAGE, NOTIFY_PAGE, NOTIFY_PAGE_SIZE, NOTIFY_STRIDE } from './registers.ts';

const CFG_COMMON = 1;
const CFG_NOTIFY = 2;
const CFG_ISR = 3;
const CFG_DEVICE = 4;
const CFG_PCI = 5;

/** Offsets in a capability, and of the window's data in the last one. */
const CAP_BAR = 4;
const CAP_OFFSET = 8;
const CAP_LENGTH = 12;
const CAP_DATA = 16;

/** `struct virtio_pci_cap` from its length byte on, with `extra` words after it. */
function body(type: number, offset: number, length: number, ...extra: number[]): Uint8Array {
  const bytes = new Uint8Array(14 + 4 * extra.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, bytes.length + 2);
  view.setUint8(1, type);
  view.setUint32(CAP_OFFSET - 2, offset, true);
  view.setUint32(CAP_LENGTH - 2, length, true);
  extra.forEach((value, i) => view.setUint32(CAP_DATA - 2 + 4 * i, value, true));
  return bytes;
}

/** Adds the five capabilities, and makes configuration accesses act on MSI-X and on the window of the last. */
export function installCapabilities(pci: PciFunction, msix: Msix, deviceConfigSize: number): void {
  pci.config.addCapability(CAPABILITY_VENDOR, body(CFG_COMMON, COMMON_PAGE, COMMON_CONFIG_SIZE));
  pci.config.addCapability(CAPABILITY_VENDOR, body(CFG_NOTIFY, NOTIFY_PAGE, NOTIFY_PAGE_SIZE, NOTIFY_STRIDE));
  pci.config.addCapability(CAPABILITY_VENDOR, body(CFG_ISR, ISR_PAGE, 1));
  if (deviceConfigSize > 0) pci.config.addCapability(CAPABILITY_VENDOR, body(CFG_DEVICE, DEVICE_PAGE, deviceConfigSize));
  const writable = body(0, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff);
  writable.fill(0, 0, 2);
  writable[CAP_BAR - 2] = 0xff;
  const window = pci.config.addCapability(CAPABILITY_VENDOR, body(CFG_PCI, 0, 0, 0), writable);

  pci.onConfigRead = (offset, width) => {
    if (touches(offset, width, window)) accessWindow(pci, window, false);
  };
  pci.onConfigWrite = (offset, width) => {
    if (msix.ownsConfig(offset, width)) msix.flush();
    if (touches(offset, width, window)) accessWindow(pci, window, true);
  };
}

const touches = (offset: number, width: Width, window: number): boolean =>
  offset < window + CAP_DATA + 4 && offset + width > window + CAP_DATA;

/** The window lets software without access to memory BARs reach them: 4.1.4.9. A bad one does nothing. */
function accessWindow(pci: PciFunction, window: number, write: boolean): void {
  const { config, bars } = pci;
  const spec = bars.find((bar) => bar.spec.index === config.bytes[window + CAP_BAR])?.spec;
  const offset = config.get32(window + CAP_OFFSET);
  const width = config.get32(window + CAP_LENGTH);
  if (!spec || (width !== 1 && width !== 2 && width !== 4) || offset % width !== 0 || offset + width > spec.size) return;
  if (write) spec.device.write(offset, width, config.read(window + CAP_DATA, width));
  else config.write(window + CAP_DATA, width, spec.device.read(offset, width));
}
