/** A browser with a fresh profile on a tree of packages: Firefox of Debian unstable makes one, draws a page, and goes on with it after it was killed. */
import { beforeAll, expect, test } from 'vitest';
import { TreeFileSystem } from '../../src/storage/tree-fs/tree-file-system.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { COMPLAINTS, fetched } from './linux.ts';
import { debianRoot, runMachine } from './tree-root.ts';

const PACKAGES = ['firefox-esr', 'fonts-dejavu-core', 'sqlite3', 'mount', 'procps', 'util-linux'];

const SCRIPT = `#!/bin/bash
mount -t proc proc /proc; mount -t devtmpfs dev /dev; mount -t sysfs sys /sys; mount -t tmpfs run /run
mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; chmod 1777 /dev/shm /tmp
mkdir /me; chown nobody /me
echo '<body style="background:#0c0">hello</body>' > /page.html
cat > /as-nobody.sh <<'END'
export PATH=/usr/bin HOME=/me MOZ_HEADLESS=1 MOZ_DISABLE_CONTENT_SANDBOX=1
cd /me
P=/me/profile
mkdir $P
echo 'user_pref("datareporting.policy.dataSubmissionEnabled", false); user_pref("browser.shell.checkDefaultBrowser", false);' > $P/user.js
check() { if "\${@:2}" > /tmp/log 2>&1; then echo "OK $1"; else echo "FAILED $1 $?"; tail -n 20 /tmp/log; fi; }
drawn() { firefox-esr --headless --no-remote --profile $P --window-size 320,200 --screenshot $1 file:///page.html && [ "$(head -c 4 $1 | tail -c 3)" = PNG ]; }
killed() {
  firefox-esr --headless --no-remote --profile $P file:///page.html & browser=$!
  for try in $(seq 600); do sleep 1; [ -e $P/places.sqlite-wal ] && [ -L $P/lock ] && [ -s $P/sessionstore-backups/recovery.jsonlz4 ] && break; done
  [ -L $P/lock ] && [ -e $P/places.sqlite-wal ] && kill -9 $browser || return; wait $browser; pkill -9 firefox; true
}
whole() { for one in $P/*.sqlite; do [ "$(sqlite3 $one 'pragma integrity_check')" = ok ] || { echo $one; return 1; }; done; [ -s $P/places.sqlite ] && [ -s $P/prefs.js ]; }
check "fresh profile" drawn /me/one.png
check databases whole
check killed killed
check again drawn /me/two.png
check "databases again" whole
check "same page" cmp /me/one.png /me/two.png
END
setpriv --reuid=nobody --regid=nogroup --clear-groups bash /as-nobody.sh
sync; echo o > /proc/sysrq-trigger; sleep 100
`;
const CHECKS = SCRIPT.split('\n').flatMap((line) => /^check ("[a-z ]+"|[a-z]+) /.exec(line)?.[1]?.replaceAll('"', '') ?? []);

beforeAll(buildDaybreak);

test(
  'Firefox makes a profile, draws a page, and finds its databases whole after it was killed',
  { timeout: 3_600_000 },
  async (context) => {
    const { root, kernel } = await fetched(context, async () => {
      const suite = await openSuite('sid');
      return {
        root: await debianRoot(suite, PACKAGES, { 'test.sh': SCRIPT }),
        kernel: (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.data,
      };
    });
    const { end, output } = await runMachine({
      kernel,
      commandLine: 'console=ttyS0 panic=-1 quiet root=debian rootfstype=virtiofs rw init=/test.sh mitigations=off',
      memoryBytes: 2048 * 2 ** 20,
      fileSystems: [{ tag: 'debian', backend: new TreeFileSystem(root.tree, root.store) }],
    });
    const lines = output.split(/\r?\n/);
    expect(
      lines.filter((line) => /^(OK|FAILED)/.test(line)),
      output.slice(-4000),
    ).toEqual(CHECKS.map((what) => `OK ${what}`));
    expect(lines.filter((line) => COMPLAINTS.test(line))).toEqual([]);
    expect(end.kind).toBe('poweroff');
  },
);
