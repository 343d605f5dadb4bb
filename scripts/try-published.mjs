// What it takes to come to the prompt of a published snapshot from an empty cache: CPU time of daybreak, and bytes from a local nginx.
//   node scripts/try-published.mjs NAME [rounds]     NAME is a snapshot of this computer with a booted state
//   --prof DIR    a CPU profile of each round
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { cpuSeconds } from './cpu-seconds.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const { positionals, values } = parseArgs({ allowPositionals: true, options: { prof: { type: 'string' } } });
const [name, rounds = '3'] = positionals;
if (name === undefined || spawnSync('nginx', ['-v']).status !== 0) {
  console.error('usage: node scripts/try-published.mjs NAME [rounds]; needs nginx (Debian package nginx-light) and script (bsdutils)');
  process.exit(2);
}
const PROGRAM = join(root, 'dist/daybreak.js');

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** nginx over a directory; `bytes` tells what it has sent. */
async function serve(directory, work) {
  const port = await freePort();
  mkdirSync(work);
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((one) => `${one}_temp_path ${work}/${one};`).join(' ');
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  writeFileSync(
    join(work, 'nginx.conf'),
    `${user} daemon off; master_process off; pid ${work}/pid; error_log ${work}/error.log; events {}
    http { log_format sent $body_bytes_sent; access_log ${work}/sent sent; ${places} server { listen 127.0.0.1:${port}; root ${directory}; } }`,
  );
  const nginx = spawn('nginx', ['-c', join(work, 'nginx.conf'), '-p', work, '-e', join(work, 'error.log')], { stdio: 'ignore' });
  await new Promise((done) => setTimeout(done, 500));
  const lines = () => readFileSync(join(work, 'sent'), 'utf8').trim().split('\n').filter(Boolean).map(Number);
  return {
    url: `http://127.0.0.1:${port}`,
    sent: () => lines().reduce((sum, one) => sum + one, 0),
    requests: () => lines().length,
    close: () => nginx.kill(),
  };
}

/** Tries it at a terminal of its own, as a person does, until its prompt stands there. */
function toPrompt(args, home) {
  return new Promise((done, failed) => {
    const began = performance.now();
    mkdirSync(home);
    const environment = { ...process.env, ...Object.fromEntries(['CACHE', 'DATA', 'STATE'].map((what) => [`XDG_${what}_HOME`, home])) };
    const profile = values.prof === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', resolve(values.prof)];
    const command = [process.execPath, ...profile, PROGRAM, 'try', ...args].map((word) => `'${word}'`).join(' ');
    const pidFile = join(home, 'pid');
    const terminal = ['-qefc', `stty cols 80 rows 24; echo $$ > ${pidFile}; exec ${command}`, '/dev/null'];
    const child = spawn('script', terminal, { env: environment, stdio: ['pipe', 'pipe', 'inherit'] });
    let output = '';
    let result;
    child.stdout.on('data', (data) => {
      output += data.toString('latin1');
      // oxlint-disable-next-line no-control-regex
      if (result || !/root@[^\n]*# (\x1b\[\S*)?$/.test(output)) return;
      const pid = Number(readFileSync(pidFile, 'utf8'));
      result = { cpu: cpuSeconds(pid), wall: (performance.now() - began) / 1000 };
      // Its profile is written when it ends by itself.
      if (values.prof === undefined) process.kill(pid, 'SIGKILL');
      else child.stdin.write('exit\n');
    });
    child.on('exit', () =>
      result && !output.includes(' boots: ') ? done(result) : failed(new Error(`it did not go on to a prompt:\n${output.slice(-2000)}`)),
    );
  });
}

await build();
const directory = mkdtempSync(join(tmpdir(), 'try-published-'));
const www = join(directory, 'www');
let server;
try {
  const published = spawnSync(process.execPath, [PROGRAM, 'publish', name, www, '--keys', join(directory, 'keys'), '--json'], {
    encoding: 'utf8',
  });
  if (published.status !== 0) throw new Error(published.stderr);
  const { fingerprint } = JSON.parse(published.stdout);
  const totalBytes = ['packs', 'indexes']
    .flatMap((folder) => readdirSync(join(www, folder)).map((file) => statSync(join(www, folder, file)).size))
    .reduce((sum, size) => sum + size, 0);
  server = await serve(www, join(directory, 'nginx'));
  const found = [];
  for (let n = 1; n <= Number(rounds); n++) {
    const before = [server.sent(), server.requests()];
    const home = join(directory, `reader-${n}`);
    const { cpu, wall } = await toPrompt([name, '--from', server.url, '--trust', fingerprint], home);
    // nginx writes its log when it has sent.
    await new Promise((wake) => setTimeout(wake, 200));
    const bytes = server.sent() - before[0];
    found.push({ cpu, bytes });
    console.log(
      `round ${n}: ${cpu.toFixed(2)} s CPU, ${wall.toFixed(2)} s wall; ${(bytes / 1e6).toFixed(2)} MB in ${server.requests() - before[1]} requests, ` +
        `${((100 * bytes) / totalBytes).toFixed(1)} % of the ${(totalBytes / 1e6).toFixed(1)} MB that are published`,
    );
    rmSync(home, { recursive: true, force: true });
  }
  console.log(`least CPU of ${rounds}: ${Math.min(...found.map(({ cpu }) => cpu)).toFixed(2)} s`);
} finally {
  server?.close();
  rmSync(directory, { recursive: true, force: true });
}
