/**
 * The control flow of a region, in the shape that structured WebAssembly needs: reverse postorder, dominators, loops.
 * Node 0 is the dispatcher, which every entry follows; node n is block n - 1. A jump that would make the flow
 * irreducible goes by way of the dispatcher. Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm"; Ramsey: "Beyond Relooper".
 */
import * as L from '../layout';
import * as C from './codes';

/** Nodes at most, and of edges from a node, the dispatcher's but for. */
const NODES: u32 = 66;
const EDGES: u32 = 8;
export const NONE: u32 = 0xff;

// By node, a byte each, unless said
const AREA: u32 = L.COMPILE_FLOW;
const SUCCESSORS: u32 = AREA; // EDGES each
const SUCCESSOR_COUNT: u32 = AREA + 0x300;
/** Whether an edge goes by way of the dispatcher: NODES each. */
const VIA: u32 = AREA + 0x400;
const ORDER: u32 = AREA + 0x1600;
const POSITION: u32 = AREA + 0x1700;
const DOMINATOR: u32 = AREA + 0x1800;
const BITS: u32 = AREA + 0x1900;
const FORWARD: u32 = AREA + 0x1a00;
/** Nodes that the dispatcher can go to, by entry number. */
const TARGETS: u32 = AREA + 0x1b00;
const PATH: u32 = AREA + 0x1c00;
const PATH_NEXT: u32 = AREA + 0x1d00;
const SEEN: u32 = AREA + 0x1e00;
const FLAGS: u32 = AREA + 0x1f00;
const SETTLED: u32 = AREA + 0x2000;

/** A forward edge leads there from more than one node, or from the dispatcher. */
const MERGE: u8 = 1;
/** An edge leads back there. */
const LOOP: u8 = 2;

let count: u32 = 0;
let orderCount: u32 = 0;
export let targetCount: u32 = 0;
export let loops: bool = false;
/** Some edges go by way of the dispatcher. */
export let irreducible: bool = false;

export function begin(nodes: u32): void {
  count = nodes;
  targetCount = 0;
  irreducible = false;
  memory.fill(SUCCESSOR_COUNT, 0, NODES);
  memory.fill(VIA, 0, NODES * NODES);
}

export function addEntry(node: u32): void {
  for (let n: u32 = 0; n < targetCount; n++) if (load<u8>(TARGETS + n) == node) return;
  store<u8>(TARGETS + targetCount++, node);
}

export function addEdge(from: u32, to: u32): void {
  const n: u32 = load<u8>(SUCCESSOR_COUNT + from);
  store<u8>(SUCCESSORS + from * EDGES + n, to);
  store<u8>(SUCCESSOR_COUNT + from, n + 1);
}

export function isVia(from: u32, to: u32): bool {
  return load<u8>(VIA + from * NODES + to) != 0;
}

export function positionOf(node: u32): u32 {
  return load<u8>(POSITION + node);
}

export function isLoop(node: u32): bool {
  return (load<u8>(BITS + node) & LOOP) != 0;
}

export function isMerge(node: u32): bool {
  return (load<u8>(BITS + node) & MERGE) != 0;
}

export function targetAt(n: u32): u32 {
  return load<u8>(TARGETS + n);
}

export function entryNumberOf(node: u32): u32 {
  let n: u32 = 0;
  while (load<u8>(TARGETS + n) != node) n++;
  return n;
}

/** Edges of a node, those by way of the dispatcher too. */
function edgesOf(node: u32): u32 {
  return node ? <u32>load<u8>(SUCCESSOR_COUNT + node) : targetCount;
}

/** Where an edge leads; NONE when it goes by way of the dispatcher. */
function edge(node: u32, n: u32): u32 {
  if (!node) return load<u8>(TARGETS + n);
  const to: u32 = load<u8>(SUCCESSORS + node * EDGES + n);
  return isVia(node, to) ? NONE : to;
}

function sort(): void {
  memory.fill(SEEN, 0, count);
  memory.fill(POSITION, <u8>NONE, count);
  orderCount = 0;
  let depth: u32 = 1;
  store<u8>(PATH, 0);
  store<u8>(PATH_NEXT, 0);
  store<u8>(SEEN, 1);
  while (depth) {
    const node: u32 = load<u8>(PATH + depth - 1);
    const n: u32 = load<u8>(PATH_NEXT + depth - 1);
    if (n == edgesOf(node)) {
      store<u8>(ORDER + orderCount++, node);
      depth--;
      continue;
    }
    store<u8>(PATH_NEXT + depth - 1, n + 1);
    const to = edge(node, n);
    if (to == NONE || load<u8>(SEEN + to)) continue;
    store<u8>(SEEN + to, 1);
    store<u8>(PATH + depth, to);
    store<u8>(PATH_NEXT + depth, 0);
    depth++;
  }
  for (let n: u32 = 0; n < orderCount >>> 1; n++) {
    const other = ORDER + orderCount - 1 - n;
    const node = load<u8>(ORDER + n);
    store<u8>(ORDER + n, load<u8>(other));
    store<u8>(other, node);
  }
  for (let n: u32 = 0; n < orderCount; n++) store<u8>(POSITION + load<u8>(ORDER + n), n);
}

/** Immediate dominators; node 0 is its own. */
function dominate(): void {
  memory.fill(DOMINATOR, <u8>NONE, count);
  store<u8>(DOMINATOR, 0);
  for (let changed = true; changed; ) {
    changed = false;
    // Each edge moves what dominates its end up to what its beginning shares with it.
    for (let k: u32 = 0; k < orderCount; k++) {
      const from: u32 = load<u8>(ORDER + k);
      if (load<u8>(DOMINATOR + from) == <u8>NONE) continue;
      const edges = edgesOf(from);
      for (let n: u32 = 0; n < edges; n++) {
        const to = edge(from, n);
        if (to == NONE || !to) continue;
        const known: u32 = load<u8>(DOMINATOR + to);
        let common = from;
        if (known != NONE) {
          let other = known;
          while (common != other) {
            if (positionOf(common) > positionOf(other)) common = load<u8>(DOMINATOR + common);
            else other = load<u8>(DOMINATOR + other);
          }
        }
        if (common != known) {
          store<u8>(DOMINATOR + to, common);
          changed = true;
        }
      }
    }
  }
}

function dominates(a: u32, b: u32): bool {
  while (positionOf(b) > positionOf(a)) b = load<u8>(DOMINATOR + b);
  return a == b;
}

/** Everything about the edges that have been added. */
export function analyse(): void {
  for (;;) {
    sort();
    dominate();
    memory.fill(BITS, 0, count);
    memory.fill(FORWARD, 0, count);
    for (let n: u32 = 0; n < targetCount; n++) store<u8>(BITS + load<u8>(TARGETS + n), MERGE);
    let reducible = true;
    loops = false;
    for (let k: u32 = 0; k < orderCount; k++) {
      const from: u32 = load<u8>(ORDER + k);
      const edges = edgesOf(from);
      for (let n: u32 = 0; n < edges; n++) {
        const to = edge(from, n);
        if (to == NONE || isRepeated(from, n, to)) continue;
        if (positionOf(to) > positionOf(from)) {
          const forward = load<u8>(FORWARD + to) + 1;
          store<u8>(FORWARD + to, forward);
          if (forward > 1) store<u8>(BITS + to, load<u8>(BITS + to) | MERGE);
        } else if (dominates(to, from)) {
          store<u8>(BITS + to, load<u8>(BITS + to) | LOOP);
          loops = true;
        } else {
          reducible = false;
          irreducible = true;
          store<u8>(VIA + from * NODES + to, 1);
          addEntry(to);
        }
      }
    }
    if (reducible) return;
  }
}

/** Whether an edge before the n-th leads to the same node. */
function isRepeated(from: u32, n: u32, to: u32): bool {
  if (!from) return false;
  for (let k: u32 = 0; k < n; k++) if (edge(from, k) == to) return true;
  return false;
}

/** The next merging node that a node dominates directly, in falling order of position, after a position; 0: none is left. */
export function mergeBefore(node: u32, position: u32): u32 {
  for (let n = min<u32>(position, orderCount); n > 1; n--) {
    const each: u32 = load<u8>(ORDER + n - 1);
    if (load<u8>(DOMINATOR + each) == node && isMerge(each)) return each;
  }
  return 0;
}

// Flags: whether somebody looks at those that a node begins with

export function isFlagsLive(node: u32): bool {
  return load<u8>(FLAGS + node) != 0;
}

/** @param looks whether the node itself looks at them, or whoever goes on when it leaves the region; @param settled that is all there is to it */
export function setFlags(node: u32, looks: bool, settled: bool): void {
  store<u8>(FLAGS + node, looks ? 1 : 0);
  store<u8>(SETTLED + node, looks || settled ? 1 : 0);
}

export function findLiveFlags(): void {
  for (let changed = true; changed; ) {
    changed = false;
    for (let node = count - 1; node > 0; node--) {
      if (load<u8>(SETTLED + node)) continue;
      const edges: u32 = load<u8>(SUCCESSOR_COUNT + node);
      for (let n: u32 = 0; n < edges; n++) {
        const to: u32 = load<u8>(SUCCESSORS + node * EDGES + n);
        // Going back, the budget may end.
        if (!load<u8>(FLAGS + to) && positionOf(to) > positionOf(node)) continue;
        store<u8>(FLAGS + node, 1);
        store<u8>(SETTLED + node, 1);
        changed = true;
        break;
      }
    }
  }
}
