/** What a distribution's programs do to their root file system: git, SQLite, dpkg and apt of Debian unstable on a tree of packages. */
import { beforeAll, expect, test } from 'vitest';
import { TreeFileSystem } from '../../src/storage/tree-fs/tree-file-system.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { COMPLAINTS, fetched } from './linux.ts';
import { debianRoot, runMachine } from './tree-root.ts';

const PACKAGES = ['apt', 'git', 'sqlite3', 'procps', 'mount', 'libcap2-bin', 'perl'];

const SCRIPT = `#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/root LANG=C
mount -t proc proc /proc; mount -t devtmpfs dev /dev; mount -t sysfs sys /sys; mount -t tmpfs run /run
check() { if "\${@:2}" > /root/log 2>&1; then echo "OK $1"; else echo "FAILED $1 $?"; tail -5 /root/log; fi; }

repository() {
  git init -q repo && cd repo && git config user.email a@example.org && git config user.name n &&
  for i in $(seq 100); do echo $i > f$i; done && git add -A && git commit -qm one && git gc -q && git fsck --strict &&
  git checkout -qb other && git mv f1 g1 && git commit -qam two && git checkout -q master && [ -e f1 ] && [ -z "$(git status --short)" ]
}
database() {
  sqlite3 /root/db "pragma journal_mode=wal; create table t(a,b);
    with recursive c(x) as (select 1 union all select x+1 from c where x<20000) insert into t select x, hex(randomblob(50)) from c;
    create index i on t(b); delete from t where a % 3 = 0; vacuum;" &&
  [ "$(sqlite3 /root/db 'pragma integrity_check; select count(*) from t;' | tr -dc 'a-z0-9')" = ok13334 ]
}
package() {
  mkdir -p /root/p/DEBIAN /root/p/usr/share/hello /root/p/etc && cd /root &&
  printf 'Package: hello-%s\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' $1 > p/DEBIAN/control &&
  echo /etc/hello-$1 > p/DEBIAN/conffiles && echo conf > p/etc/hello-$1 && echo content > p/usr/share/hello/$1 && ln -f p/usr/share/hello/$1 p/usr/share/hello/hard &&
  printf '#!/bin/sh\\necho configured > /var/hello-%s\\n' $1 > p/DEBIAN/postinst && chmod 755 p/DEBIAN/postinst && dpkg-deb -b p hello-$1.deb && rm -r p
}
dpkg_installs() { package one && dpkg -i hello-one.deb && [ -e /var/hello-one ] && dpkg -V hello-one && dpkg --purge hello-one && [ ! -e /etc/hello-one ]; }
apt_installs() {
  package two && apt-get -o APT::Sandbox::User=root -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=/dev/null install -y /root/hello-two.deb &&
  [ -e /var/hello-two ] && dpkg -s hello-two | grep -q 'ok installed' && dpkg --audit
}
capabilities() { cp /usr/bin/sleep /root/s && setcap cap_net_raw+ep /root/s && getcap /root/s | grep -q cap_net_raw && echo >> /root/s && [ -z "$(getcap /root/s)" ]; }
replaced() { cp /usr/bin/bash /root/bash && /root/bash -c 'sleep 1; exit 7' & sleep 0.3; mv /usr/bin/sleep /root/bash; wait $!; [ $? = 7 ]; }

cd /root
check git repository
cd /root
check sqlite database
check dpkg dpkg_installs
check apt apt_installs
check capabilities capabilities
check "a running program that is replaced" replaced
sync; echo o > /proc/sysrq-trigger; sleep 100
`;

beforeAll(buildDaybreak);

test('git, SQLite, dpkg and apt work on a tree of packages as their root', { timeout: 1_800_000 }, async (context) => {
  const { root, kernel } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    return {
      root: await debianRoot(suite, PACKAGES, { 'test.sh': SCRIPT }),
      kernel: (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.data,
    };
  });
  const before = await root.tree.digest();
  const backend = new TreeFileSystem(root.tree, root.store);
  const { end, output } = await runMachine({
    kernel,
    commandLine: 'console=ttyS0 panic=-1 quiet root=debian rootfstype=virtiofs rw init=/test.sh',
    memoryBytes: 512 * 2 ** 20,
    fileSystems: [{ tag: 'debian', backend }],
  });
  const lines = output.split(/\r?\n/);
  expect(lines.filter((line) => /^(OK|FAILED)/.test(line))).toEqual(
    ['git', 'sqlite', 'dpkg', 'apt', 'capabilities', 'a running program that is replaced'].map((what) => `OK ${what}`),
  );
  expect(lines.filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(end.kind).toBe('poweroff');
  expect(await root.tree.digest()).toBe(before);
  // What was written is a tree, too: that is how a build ends.
  const sealed = await backend.seal(root.store);
  expect(sealed.get('var/hello-two')).toMatchObject({ type: 'file', sizeBytes: 11 });
});

test('systemd boots to a login prompt, though no maintainer script has run', { timeout: 1_800_000 }, async (context) => {
  const { root, kernel } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    return {
      root: await debianRoot(suite, ['systemd-sysv', 'dbus', 'udev', 'login', 'passwd', 'procps', 'apt', 'mount'], {}),
      kernel: (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.data,
    };
  });
  const { end, output } = await runMachine(
    {
      kernel,
      commandLine: 'console=ttyS0 panic=-1 root=debian rootfstype=virtiofs rw mitigations=off audit=0',
      memoryBytes: 1024 * 2 ** 20,
      fileSystems: [{ tag: 'debian', backend: new TreeFileSystem(root.tree, root.store) }],
    },
    /login: $/,
  );
  expect(output).toMatch(/daybreak login: $/);
  expect(output.split(/\r?\n/).filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(end.kind).toBe('stopped');
});
