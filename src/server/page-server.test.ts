import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { servePage, type PageServer } from './page-server.ts';

const scratch = mkdtempSync(join(tmpdir(), 'daybreak-serve-'));
const page = join(scratch, 'page');
const files = join(scratch, 'files');
let server: PageServer;

beforeAll(async () => {
  mkdirSync(page);
  mkdirSync(join(files, 'deep'), { recursive: true });
  writeFileSync(join(page, 'index.html'), 'the page');
  writeFileSync(join(page, 'x.wasm'), 'wasm');
  writeFileSync(join(scratch, 'secret'), 'secret');
  writeFileSync(join(files, 'deep/a kernel'), 'kernel');
  writeFileSync(join(files, 'empty'), '');
  symlinkSync(join(scratch, 'secret'), join(files, 'link'));
  server = await servePage({ page, files, port: 0 });
});

afterAll(async () => {
  await server.close();
  rmSync(scratch, { recursive: true });
});

/** Sends the path as it is: `fetch` would tidy it up. */
function ask(path: string, options: { method?: string; headers?: Record<string, string> } = {}) {
  return new Promise<{ status: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
    const request = httpRequest(server.url, { path, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    request.on('error', reject).end();
  });
}

describe('the server', () => {
  test.each([
    ['/', 'the page', 'text/html; charset=utf-8'],
    ['/?kernel=files/x', 'the page', 'text/html; charset=utf-8'],
    ['/x.wasm', 'wasm', 'application/wasm'],
    ['/files/deep/a%20kernel', 'kernel', 'application/octet-stream'],
    ['/files/empty', '', 'application/octet-stream'],
  ])('gives %s', async (path, text, type) => {
    expect(await ask(path)).toMatchObject({ status: 200, text, headers: { 'content-type': type, 'content-length': `${text.length}` } });
  });

  test.each([
    ...['/nothing', '/files/', '/files/deep', '/files/../page/index.html', '/files/..%2fsecret', '/..%2fsecret', '/files/link'],
    ...['/files/%00', '/%ff', '//secret'],
  ])('does not give %s', async (path) => {
    const { status, text } = await ask(path);
    expect(status === 404 || text === 'the page').toBe(true);
    expect(text).not.toContain('secret');
  });

  test('gives the rest of a file from an offset', async () => {
    const rest = await ask('/files/deep/a%20kernel', { headers: { range: 'bytes=4-' } });
    expect(rest).toMatchObject({ status: 206, text: 'el', headers: { 'content-range': 'bytes 4-5/6' } });
    expect(await ask('/files/deep/a%20kernel', { headers: { range: 'bytes=6-' } })).toMatchObject({ status: 200, text: 'kernel' });
  });

  test('answers HEAD without the content, and no other method', async () => {
    expect(await ask('/', { method: 'HEAD' })).toMatchObject({ status: 200, text: '', headers: { 'content-length': '8' } });
    expect(await ask('/', { method: 'POST' })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  });

  test('answers nobody who calls it by another name', async () => {
    expect((await ask('/', { headers: { host: 'site.example' } })).status).toBe(403);
    expect((await ask('/', { headers: { host: 'localhost:80' } })).status).toBe(200);
  });

  test('says when its port is taken, and what directory is missing', async () => {
    const port = Number(new URL(server.url).port);
    await expect(servePage({ page, port })).rejects.toMatchObject({ code: 'host-io', message: expect.stringContaining('another program') });
    await expect(servePage({ page, files: join(scratch, 'no'), port: 0 })).rejects.toMatchObject({ code: 'not-found' });
  });

  test('has no files when it was given none', async () => {
    const bare = await servePage({ page, port: 0 });
    expect((await fetch(`${bare.url}files/empty`)).status).toBe(404);
    await bare.close();
  });
});
