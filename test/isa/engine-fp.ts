/** Moves the XSAVE form of FP state into and out of the engine's own. SDM vol. 1, 10.5.1. */
import * as L from '../../src/x86/runtime/layout.ts';
import { FP, FP_SIZE } from '../native/case.ts';

const TOP = 0x3800;
const SUMMARY = 0x8080;

export function loadFp(state: DataView, fp: Uint8Array): void {
  const view = new DataView(fp.buffer, fp.byteOffset, FP_SIZE);
  const u32 = (address: number, value: number): void => state.setUint32(address, value, true);
  const fsw = view.getUint16(FP.fsw, true);
  const top = (fsw & TOP) >> 11;
  const fcw = view.getUint16(FP.fcw, true);
  // The processor computes ES and B from the rest.
  const status = (fsw & ~(TOP | SUMMARY)) | (fsw & ~fcw & 0x3f ? SUMMARY : 0);
  u32(L.FCW, fcw);
  u32(L.FSW, status);
  u32(L.FTOP, top);
  u32(L.FTAG, fp[FP.ftw]!);
  u32(L.MXCSR, view.getUint32(FP.mxcsr, true));
  u32(L.FOP, 0);
  state.setBigUint64(L.FIP, 0n, true);
  state.setBigUint64(L.FDP, 0n, true);
  for (let i = 0; i < 8; i++) {
    const at = L.X87 + 16 * ((top + i) & 7);
    state.setBigUint64(at, view.getBigUint64(FP.st + 16 * i, true), true);
    state.setBigUint64(at + 8, BigInt(view.getUint16(FP.st + 16 * i + 8, true)), true);
  }
  const bytes = new Uint8Array(state.buffer, state.byteOffset);
  for (let i = 0; i < 16; i++) {
    bytes.set(fp.subarray(FP.xmm + 16 * i, FP.xmm + 16 * i + 16), L.YMM + 32 * i);
    bytes.set(fp.subarray(FP.ymmHigh + 16 * i, FP.ymmHigh + 16 * i + 16), L.YMM + 32 * i + 16);
  }
}

export function storeFp(state: DataView): Uint8Array {
  const fp = new Uint8Array(FP_SIZE);
  const view = new DataView(fp.buffer);
  const u32 = (address: number): number => state.getUint32(address, true);
  const top = u32(L.FTOP) & 7;
  view.setUint16(FP.fcw, u32(L.FCW), true);
  view.setUint16(FP.fsw, (u32(L.FSW) & ~TOP) | (top << 11), true);
  fp[FP.ftw] = u32(L.FTAG);
  view.setUint32(FP.mxcsr, u32(L.MXCSR), true);
  view.setUint32(FP.mxcsrMask, 0xffff, true);
  fp[FP.header] = 7;
  for (let i = 0; i < 8; i++) {
    const at = L.X87 + 16 * ((top + i) & 7);
    view.setBigUint64(FP.st + 16 * i, state.getBigUint64(at, true), true);
    view.setUint16(FP.st + 16 * i + 8, state.getUint16(at + 8, true), true);
  }
  const bytes = new Uint8Array(state.buffer, state.byteOffset);
  for (let i = 0; i < 16; i++) {
    fp.set(bytes.subarray(L.YMM + 32 * i, L.YMM + 32 * i + 16), FP.xmm + 16 * i);
    fp.set(bytes.subarray(L.YMM + 32 * i + 16, L.YMM + 32 * i + 32), FP.ymmHigh + 16 * i);
  }
  return fp;
}
