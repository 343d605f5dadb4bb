/** Linux goes on from a saved state with another network address, and with its network. */
import { afterAll, expect, test } from 'vitest';
import { concatBytes } from '../../src/base/bytes.ts';
import { silent } from '../../src/base/log.ts';
import { startConsolePc, type ConsolePcOptions } from '../../src/boards/console-pc.ts';
import { readSavedPc } from '../../src/boards/pc-state.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { NEW_NETWORK_ADDRESS } from '../../src/snapshots/session/prompt-line.ts';
import { openSuite } from './debian.ts';
import { initramfs, Scratch } from './initramfs.ts';
import { COMPLAINTS, fetched } from './linux.ts';
import { pcHost } from './tree-root.ts';

const MODULES = [
  'virtio',
  'virtio_ring',
  'virtio_pci_legacy_dev',
  'virtio_pci_modern_dev',
  'virtio_pci',
  'failover',
  'net_failover',
  'virtio_net',
];
const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02'];

const scratch = new Scratch();
afterAll(() => scratch.remove());

/** A neighbour that needs not be asked for, so that what is sent says who has sent it. */
const SCRIPT = `${MODULES.map((name) => `insmod /lib/${name}.ko\n`).join('')}
speak() {
  ip link set eth0 up
  ip addr add 10.0.0.2/24 dev eth0
  arp -s 10.0.0.1 02:00:00:00:00:99
  ping -c 1 -W 1 10.0.0.1 > /dev/null
  echo "ADDRESS $(cat /sys/class/net/eth0/address)"
}
speak
echo CAN BE SAVED
read line
eval "$line"
echo BOUND ANEW
speak
poweroff -f
`;

interface Run {
  readonly output: string;
  /** Who has sent frames; after going on, since the card is bound anew: what the kernel had yet to send may go before. */
  readonly senders: readonly string[];
  readonly state?: Uint8Array;
}

test('a machine that goes on sends from its own address once its card is bound anew', { timeout: 600_000 }, async (context) => {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('bookworm');
    const kernel = await suite.kernel('linux-image-cloud-amd64', ...MODULES.map((name) => new RegExp(`/${name}\\.ko$`)));
    return { kernel, busybox: (await suite.busybox()).data };
  });
  const modules = Object.fromEntries(kernel.others.map(({ data }, i) => [`lib/${MODULES[i]}.ko`, data]));
  const initrd = await initramfs(busybox, SCRIPT, modules);
  const codec = await nodeStateCodec();

  const run = async (mac: string, from?: Uint8Array): Promise<Run> => {
    let output = '';
    const senders: string[] = [];
    const parts: Uint8Array[] = [];
    let saving: Promise<void> | undefined;
    const options: ConsolePcOptions = {
      kernel: kernel.vmlinuz.data,
      initrds: [initrd],
      commandLine: 'console=ttyS0 panic=-1 quiet',
      memoryBytes: 128 * 2 ** 20,
      console: 'serial',
      network: {
        mac: Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16)),
        backend: {
          send(frame) {
            const sender = [...frame.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
            if (!from || output.includes('BOUND ANEW')) senders.push(sender);
          },
        },
      },
      output: (data) => {
        output += Buffer.from(data).toString('latin1');
        if (!from && output.includes('CAN BE SAVED')) saving ??= machine.save(codec, async (state) => void parts.push(...state), 'end');
      },
      noReboot: true,
      log: silent,
    };
    const source = from && { name: 'state', sizeBytes: from.length, read: (at: number, length: number) => from.subarray(at, at + length) };
    const machine = await startConsolePc(await pcHost(), { ...options, ...(source && { restore: { state: readSavedPc(source, codec) } }) });
    if (from) void machine.input(new TextEncoder().encode(`${NEW_NETWORK_ADDRESS}\n`));
    const end = await machine.ended;
    await saving;
    if (end.kind === 'failed') throw end.error;
    expect(output.split('\n').filter((line) => COMPLAINTS.test(line))).toEqual([]);
    return { output, senders, ...(!from && { state: concatBytes(parts) }) };
  };

  const first = await run(MACS[0]!);
  expect(first.output).toContain(`ADDRESS ${MACS[0]}`);
  expect(new Set(first.senders)).toEqual(new Set([MACS[0]]));
  const second = await run(MACS[1]!, first.state);
  expect(second.output).toContain(`ADDRESS ${MACS[1]}`);
  expect(second.senders.length).toBeGreaterThan(0);
  expect(new Set(second.senders)).toEqual(new Set([MACS[1]]));
});
