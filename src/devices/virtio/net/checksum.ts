/** The Internet checksum, as a network device completes it for a driver: RFC 1071; VIRTIO 1.2, 5.1.6.2. */

/**
 * Sums `frame` from `start` to its end and stores the complement at `start + offset`, where the driver left the sum
 * of the pseudo-header. Answers false when these do not lie within the frame.
 */
export function completeChecksum(frame: Uint8Array, start: number, offset: number): boolean {
  const at = start + offset;
  if (at + 2 > frame.length) return false;
  let sum = 0;
  const end = frame.length - ((frame.length - start) & 1);
  for (let i = start; i < end; i += 2) sum += (frame[i]! << 8) | frame[i + 1]!;
  if (end < frame.length) sum += frame[end]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  const result = ~sum & 0xffff || 0xffff; // 0 would mean "no checksum" to UDP: RFC 768
  frame[at] = result >> 8;
  frame[at + 1] = result & 0xff;
  return true;
}
