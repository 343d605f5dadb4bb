/** `Native` by way of koffi, which calls C functions without a compiler on this computer. */
import type { Native } from './native.ts';

const ARGUMENTS = 6;

/** Rejects where koffi has no binary for this platform. */
export async function koffiNative(): Promise<Native> {
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const ioctl = libc.func('ioctl', 'int', ['int', 'ulong', 'ulong']);
  const ioctlData = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);
  // Numbers and addresses alike: what the kernel takes are registers.
  const syscall = libc.func('syscall', 'int64', Array<string>(ARGUMENTS + 1).fill('uint64'));
  const result = (value: number): number => (value === -1 ? -koffi.errno() : value);
  return {
    ioctl: (fd, request, value) => result(ioctl(fd, request, value) as number),
    ioctlData: (fd, request, data) => result(ioctlData(fd, request, data) as number),
    syscall(number, ...args) {
      const rest = Array.from({ length: ARGUMENTS }, (_, n) => args[n] ?? 0);
      return result(Number(syscall(number, ...rest)));
    },
    address: (view) => koffi.address(view),
    watch(fd, callback) {
      const handle = koffi.node.poll(fd, { readable: true }, callback);
      handle.unref();
      let open = true;
      return {
        dispose() {
          if (open) handle.close();
          open = false;
        },
      };
    },
  };
}
