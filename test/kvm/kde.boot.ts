/**
 * Acceptance on a host with hardware virtualisation: KDE Plasma. The recipe `debian/kde` is built, booted until Plasma has drawn its desktop, and gone on with from
 * its booted state; each time the picture of its screen is fetched and looked at. Elsewhere the test says why it is skipped. `DAYBREAK_KDE_ACCEL=jit` runs it without
 * KVM, which takes twelve minutes where `debian` has been built; `DAYBREAK_KDE_HOME=DIR` keeps what is built there, for the next run.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { diagnoseKvm } from '../../src/node/kvm/diagnose.ts';
import { buildDaybreak, startDaybreak, type Running } from '../boot/daybreak.ts';
import { decodePng, type Picture } from './png.ts';

const ACCELERATOR = process.env['DAYBREAK_KDE_ACCEL'] ?? 'kvm';
const kept = process.env['DAYBREAK_KDE_HOME'];
const home = kept === undefined ? mkdtempSync(join(tmpdir(), 'daybreak-kde-')) : resolve(kept);
const TIMEOUT_MS = 2 * 3_600_000;
/** Of a person who waits for a desktop: from the command until it is drawn. */
const BOOT_SECONDS_MAX = 60;
const RESUME_SECONDS_MAX = 10;

beforeAll(() => {
  buildDaybreak();
  mkdirSync(home, { recursive: true });
}, 300_000);
afterAll(() => {
  if (kept === undefined) rmSync(home, { recursive: true, force: true });
});

type Ended = Awaited<Running['ended']> & { readonly seconds: number };

/** Downloads are kept where those of `daybreak` are. */
async function daybreak(verb: string, ...args: readonly string[]): Promise<Ended> {
  const began = performance.now();
  const { child, ended } = startDaybreak([verb, '--accel', ACCELERATOR, ...args], { XDG_DATA_HOME: home });
  child.stdin.end();
  return { ...(await ended), seconds: (performance.now() - began) / 1000 };
}

/** Fails unless it is a desktop: a wallpaper, and below it a panel with a clock. */
function expectDesktop(picture: Picture): void {
  const { width, height, pixel } = picture;
  expect([width, height]).toEqual([1280, 800]);
  const colours = (left: number, top: number, right: number, bottom: number): Map<number, number> => {
    const counts = new Map<number, number>();
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) counts.set(pixel(x, y), (counts.get(pixel(x, y)) ?? 0) + 1);
    return counts;
  };
  expect(colours(0, 0, width, height).size).toBeGreaterThan(1000);
  // The panel floats over the wallpaper's lower edge: bright, nearly of one colour, while what is above it has many.
  const panel = colours(200, height - 30, width - 200, height - 26);
  const above = colours(200, height - 400, width - 200, height - 396);
  expect(panel.size * 3).toBeLessThan(above.size);
  for (const colour of panel.keys()) expect(Math.min(colour >> 16, (colour >> 8) & 0xff, colour & 0xff)).toBeGreaterThan(0x80);
  const clock = [...colours(width - 130, height - 44, width - 50, height - 10)].filter(([colour]) => (colour & 0xff) < 0x60);
  expect(clock.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(30);
}

/** What the machine's command is to do: its output is a picture and nothing else. */
const PICTURE = 'systemctl is-system-running --wait >/dev/null; plasma-picture /run/desktop.png >/dev/null && base64 /run/desktop.png';

/** Starts a machine, as a person does, and gives the picture of its desktop. */
async function desktop(name: string, ...options: string[]): Promise<Ended> {
  const ended = await daybreak('try', 'debian/kde', ...options, '--', 'sh', '-c', PICTURE);
  expect(ended.status, ended.errors).toBe(0);
  const data = Buffer.from(ended.output, 'base64');
  writeFileSync(join(home, `${name}.png`), data);
  expectDesktop(decodePng(data));
  return ended;
}

test(`KDE Plasma is built, booted and gone on with on ${ACCELERATOR}, and draws its desktop`, { timeout: TIMEOUT_MS }, async (context) => {
  if (ACCELERATOR === 'kvm') {
    const { works, problem } = await diagnoseKvm();
    if (!works) {
      console.warn(`skipped: ${problem}`);
      return context.skip(problem);
    }
  }
  const built = await daybreak('build', 'debian/kde');
  expect(built.status, built.errors).toBe(0);
  const booted = await desktop('booted', '--cold');
  const resumed = await desktop('resumed');
  expect(resumed.errors).not.toContain(' boots: ');
  const [build, boot, resume] = [built, booted, resumed].map(({ seconds }) => seconds.toFixed(1));
  console.log(`Plasma on ${ACCELERATOR}: built in ${build} s; its desktop drawn ${boot} s after a boot began, ${resume} s after going on`);
  if (ACCELERATOR !== 'kvm') return;
  expect(booted.seconds).toBeLessThan(BOOT_SECONDS_MAX);
  expect(resumed.seconds).toBeLessThan(RESUME_SECONDS_MAX);
});
