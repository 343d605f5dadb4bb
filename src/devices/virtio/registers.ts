/** How the virtio structures lie in the register BAR: a page each, so that a hypervisor can catch notifications alone. */
export const REGISTER_BAR_SIZE = 0x4000;
export const COMMON_PAGE = 0x0000;
export const ISR_PAGE = 0x1000;
export const DEVICE_PAGE = 0x2000;
export const NOTIFY_PAGE = 0x3000;
export const NOTIFY_PAGE_SIZE = 0x1000;
/** Bytes between the notification registers of two queues. */
export const NOTIFY_STRIDE = 4;
