/** PostgreSQL of Debian unstable with its cluster on a tree of packages: initdb, transactions at once, a crash and what is recovered, checksums. */
import { beforeAll, expect, test } from 'vitest';
import { TreeFileSystem } from '../../src/storage/tree-fs/tree-file-system.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { COMPLAINTS, fetched } from './linux.ts';
import { debianRoot, runMachine } from './tree-root.ts';

const PACKAGES = ['postgresql', 'mount', 'procps', 'util-linux'];

const SCRIPT = `#!/bin/bash
mount -t proc proc /proc; mount -t devtmpfs dev /dev; mount -t sysfs sys /sys; mount -t tmpfs run /run
mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; chmod 1777 /dev/shm /tmp
mkdir /var/lib/cluster; chown nobody /var/lib/cluster
cat > /as-nobody.sh <<'END'
export PATH=$(echo /usr/lib/postgresql/*/bin):/usr/sbin:/usr/bin PGDATA=/var/lib/cluster/data PGHOST=/tmp PGUSER=nobody PGDATABASE=postgres PGCTLTIMEOUT=3000
cd /tmp
check() { if "\${@:2}" > /tmp/log 2>&1; then echo "OK $1"; else echo "FAILED $1 $?"; tail -n 20 /tmp/log /tmp/server.log; fi; }
initialized() { initdb -A trust --locale=C.UTF-8 --data-checksums --no-instructions; }
started() { pg_ctl -w -l /tmp/server.log -o "-c listen_addresses='' -k /tmp" start; }
is() { [ "$(psql -XAtc "$2")" = "$1" ]; }
transactions() {
  psql -Xqc 'create table account(id int primary key, balance bigint); insert into account select n, 1000 from generate_series(1, 500) n; create index on account(balance)' || return
  for who in 1 2 3; do
    for turn in $(seq 20); do
      echo "begin; update account set balance = balance - $turn where id = $((who * 10)); update account set balance = balance + $turn where id = $((who * 10 + turn)); commit;"
    done | psql -Xqv ON_ERROR_STOP=1 & waiting="$waiting $!"
  done
  for one in $waiting; do wait $one || return; done
  is 500000 'select sum(balance) from account'
}
rolled_back() { psql -Xqc 'begin; delete from account; rollback' && is 500 'select count(*) from account'; }
large() {
  psql -Xqc "create table large as select n, repeat(md5(n::text), 40) as text from generate_series(1, 3000) n" -c "vacuum full large" -c checkpoint &&
  psql -Xqc "copy large to '/tmp/copy'; create table again(like large); copy again from '/tmp/copy'" &&
  is 0 'select count(*) from (select * from large except select * from again) d'
}
crashed() { psql -Xqc 'insert into account values (1000, 7)' && pg_ctl -m immediate stop; }
recovered() { started && is 500007 'select sum(balance) from account' && grep -q 'redo done' /tmp/server.log; }
dropped() { createdb other && dropdb other && psql -Xqc "create tablespace t location '/var/lib/cluster/space'" -c "create table there(a int) tablespace t; insert into there values (1)" && is 1 'select * from there' && psql -Xqc 'drop table there' -c 'drop tablespace t'; }
stopped() { pg_ctl -m fast -w stop && pg_checksums --check && [ ! -e $PGDATA/postmaster.pid ]; }
mkdir /var/lib/cluster/space
check initdb initialized
check start started
check "transactions at once" transactions
check rollback rolled_back
check "large tables" large
check "databases and tablespaces" dropped
check crash crashed
check recovery recovered
check "checksums of all pages" stopped
check restart started
check stop stopped
END
setpriv --reuid=nobody --regid=nogroup --clear-groups bash /as-nobody.sh
sync; echo o > /proc/sysrq-trigger; sleep 100
`;
const CHECKS = SCRIPT.split('\n').flatMap((line) => /^check "?([a-z ]+?)"? \w+$/.exec(line)?.[1] ?? []);

beforeAll(buildDaybreak);

test(
  'PostgreSQL makes a cluster, keeps what was committed through a crash, and finds every page whole',
  { timeout: 1_800_000 },
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
      memoryBytes: 1024 * 2 ** 20,
      fileSystems: [{ tag: 'debian', backend: new TreeFileSystem(root.tree, root.store) }],
    });
    const lines = output.split(/\r?\n/);
    expect(CHECKS).toContain('initdb');
    expect(
      lines.filter((line) => /^(OK|FAILED)/.test(line)),
      output.slice(-4000),
    ).toEqual(CHECKS.map((what) => `OK ${what}`));
    expect(lines.filter((line) => COMPLAINTS.test(line))).toEqual([]);
    expect(end.kind).toBe('poweroff');
  },
);
