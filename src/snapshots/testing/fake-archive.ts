/** A small Debian archive made on the spot, with keys of its own, served over HTTP by a server that can be told to misbehave. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { createCleartextMessage, generateKey, readKey, readPrivateKey, sign, type Key, type PrivateKey } from 'openpgp';
import { sha256 } from '../../base/sha256.ts';
import { makeDeb, type TestEntry } from '../../storage/testing/archives.ts';

export interface FakePackage {
  readonly name: string;
  readonly version?: string;
  /** Further control fields, one a line. */
  readonly fields?: string;
  readonly entries?: readonly TestEntry[];
}

/** The least that a usable userland and a kernel take. */
export const MINIMAL_PACKAGES: readonly FakePackage[] = [
  { name: 'base-files', fields: 'Essential: yes', entries: [{ path: './usr/lib/os-release', content: 'ID=debian\n' }] },
  {
    name: 'base-passwd',
    fields: 'Essential: yes',
    entries: [
      { path: './usr/share/base-passwd/passwd.master', content: 'root:*:0:0:root:/root:/bin/bash\ndaemon:*:1:1::/:/usr/sbin/nologin\n' },
      { path: './usr/share/base-passwd/group.master', content: 'root:*:0:\nshadow:*:42:\n' },
    ],
  },
  ...['apt', 'less', 'login', 'mount', 'nano', 'passwd', 'procps'].map((name) => ({
    name,
    entries: [{ path: `./usr/bin/${name}`, content: name, mode: 0o755 }],
  })),
  { name: 'mawk', fields: 'Provides: awk', entries: [{ path: './usr/bin/mawk', content: 'mawk', mode: 0o755 }] },
  { name: 'linux-image-cloud-amd64', fields: 'Depends: linux-image-7.2.0-cloud-amd64 (= 1)' },
  { name: 'linux-binary-7.2.0-cloud-amd64', entries: [{ path: './usr/lib/modules/7.2.0-cloud-amd64/vmlinuz', content: 'a kernel' }] },
];

export interface Signer {
  readonly privateKey: PrivateKey;
  readonly publicKey: Key;
}

export async function makeSigner(date = new Date('2026-01-01T00:00:00Z')): Promise<Signer> {
  const { privateKey, publicKey } = await generateKey({
    userIDs: [{ name: 'Test archive' }],
    type: 'ecc',
    curve: 'ed25519Legacy',
    date,
    format: 'armored',
  });
  return { privateKey: await readPrivateKey({ armoredKey: privateKey }), publicKey: await readKey({ armoredKey: publicKey }) };
}

export interface ArchiveState {
  readonly packages?: readonly FakePackage[];
  readonly date?: string;
  readonly validUntil?: string;
  readonly suite?: string;
}

/** What one request is answered with instead of the file. Undefined: the file as it is. */
export type Misbehaviour = (path: string, request: IncomingMessage, response: ServerResponse) => boolean;

export class FakeArchive {
  readonly files = new Map<string, Uint8Array>();
  /** Paths asked for, in order, with the range when there was one. */
  readonly requests: string[] = [];
  misbehave: Misbehaviour = () => false;
  readonly signer: Signer;
  #server: Server | undefined;

  constructor(signer: Signer) {
    this.signer = signer;
  }

  /** Puts the archive into a state; files of earlier states go. */
  async publish(state: ArchiveState = {}): Promise<void> {
    this.files.clear();
    const stanzas: string[] = [];
    for (const { name, version = '1', fields, entries = [] } of state.packages ?? MINIMAL_PACKAGES) {
      const control = `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\n${fields ? `${fields}\n` : ''}Description: test\n`;
      const deb = makeDeb(control, entries);
      const filename = `pool/${name}_${version}.deb`;
      this.files.set(filename, deb);
      stanzas.push(`${control}Filename: ${filename}\nSize: ${deb.length}\nSHA256: ${await sha256(deb)}\n`);
    }
    const index = new Uint8Array(gzipSync(stanzas.join('\n')));
    const digest = await sha256(index);
    const directory = 'dists/unstable/main/binary-amd64';
    this.files.set(`${directory}/Packages.gz`, index);
    this.files.set(`${directory}/by-hash/SHA256/${digest}`, index);
    const { suite = 'unstable', date = 'Sun, 01 Nov 2026 08:00:00 UTC', validUntil = 'Sun, 08 Nov 2026 08:00:00 UTC' } = state;
    const release =
      `Origin: Test\nSuite: ${suite}\nCodename: sid\nDate: ${date}\nValid-Until: ${validUntil}\nAcquire-By-Hash: yes\n` +
      `SHA256:\n ${digest} ${index.length} main/binary-amd64/Packages.gz\n`;
    this.files.set('dists/unstable/InRelease', new TextEncoder().encode(await this.signed(release)));
  }

  async signed(text: string, by: Signer = this.signer, date = new Date('2026-02-01T00:00:00Z')): Promise<string> {
    return sign({ message: await createCleartextMessage({ text }), signingKeys: by.privateKey, date, format: 'armored' });
  }

  /** Starts the server; gives the mirror's address. */
  async listen(): Promise<string> {
    const server = createServer((request, response) => this.#answer(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '').replace(/^\/debian\//, '');
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    this.requests.push(range ? `${path}@${range[1]}` : path);
    if (this.misbehave(path, request, response)) return;
    const data = this.files.get(path);
    if (!data) {
      response.writeHead(404).end('not here');
      return;
    }
    const from = range ? Number(range[1]) : 0;
    if (from > 0 && from < data.length) {
      response.writeHead(206, { 'content-range': `bytes ${from}-${data.length - 1}/${data.length}`, 'content-length': data.length - from });
      response.end(data.subarray(from));
    } else {
      response.writeHead(200, { 'content-length': data.length });
      response.end(data);
    }
  }
}
