/**
 * Process 1 of a machine that builds: lets dpkg configure what was unpacked, runs the recipe's commands, and ends. Everything that differs from build to build stands in files beside it.
 */
import { CONTROL_PORT } from '../debian/init-script.ts';

/** Where the build's own files are in the machine; nothing of it stays in the tree. */
export const BUILD_DIRECTORY = 'daybreak-build';

/**
 * What has to work before dpkg can run other packages' scripts, in this order: accounts, the C library, perl and awk for scripts.
 * The same that debootstrap begins with.
 */
const CORE = 'base-passwd base-files libc6 perl-base mawk debconf dpkg';

/**
 * On the control port: `step NAME`, dpkg's status lines (dpkg(1), --status-fd), `failed WHAT`, and `exit STATUS` at the end.
 * `preinst` scripts run after their files are unpacked, as multistrap does: in a new system there is nothing for them to save.
 */
export const BUILD_SCRIPT = String.raw`#!/bin/sh
B=/${BUILD_DIRECTORY}
. $B/environment
mount -n -t proc proc /proc
mount -n -t sysfs sysfs /sys
mount -n -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -n -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -n -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -n -t tmpfs -o mode=0755 tmpfs /run
mount -n -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /run/lock
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
for port in /sys/class/virtio-ports/*; do
  case $(cat $port/name 2>/dev/null) in
    ${CONTROL_PORT}) control=/dev/\${port##*/} ;;
  esac
done
exec 4>$control
exec </dev/null
umask 022
cd /
date -u -s @$SOURCE_DATE_EPOCH >/dev/null
hostname daybreak 2>/dev/null || echo daybreak >/proc/sys/kernel/hostname

end() {
  echo "exit $1" >&4
  exec 4>&-
  exec perl -e 'syscall(169, 0xfee1dead, 672274793, 0x4321fedc, 0); sleep 9 while 1'
}

configure() {
  dpkg --force-confdef --force-confold --force-unsafe-io --status-fd 4 "$@"
}

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

echo 'step preinst' >&4
while read -r info name; do
  echo "Preparing $name ..."
  DPKG_MAINTSCRIPT_PACKAGE=$name DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_ARCH=amd64 DPKG_MAINTSCRIPT_NAME=preinst \
    DPKG_RUNNING_VERSION=$DPKG_VERSION DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_FORCE= DPKG_MAINTSCRIPT_DEBUG=0 \
    /var/lib/dpkg/info/$info.preinst install || { echo "failed preinst $name" >&4; end 1; }
done <$B/preinsts

echo 'step configure' >&4
for name in ${CORE}; do
  case $(dpkg-query -W -f '\${db:Status-Status}' $name 2>/dev/null) in
    unpacked) configure --force-depends --configure $name ;;
  esac
done
configure --configure -a || { echo 'failed configure' >&4; end 1; }
while read -r trigger; do
  dpkg-trigger --by-package=dpkg --no-await "$trigger"
done <$B/triggers
configure --configure --pending || { echo 'failed triggers' >&4; end 1; }

# Without kmod nothing loads modules, either.
! command -v depmod >/dev/null || for modules in /usr/lib/modules/*; do
  [ ! -d "$modules" ] || depmod "\${modules##*/}" || { echo 'failed depmod' >&4; end 1; }
done

echo 'step commands' >&4
for command in $B/commands/*; do
  [ -e "$command" ] || continue
  sh -e "$command" || { status=$?; echo "failed command \${command##*/} $status" >&4; end 1; }
done

rm /usr/sbin/policy-rc.d
sync
end 0
`.replaceAll('\\$', '$');
