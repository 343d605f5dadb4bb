/**
 * The control flow of a region, in the shape that structured WebAssembly needs: reverse postorder, dominators, loops.
 * Node 0 is the dispatcher, which every entry follows; the other nodes are blocks. A jump that would make the flow
 * irreducible goes by way of the dispatcher. Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm"; Ramsey: "Beyond Relooper".
 */

export interface Flow {
  /** Reachable nodes in reverse postorder, node 0 first. */
  readonly order: readonly number[];
  /** Position in `order`; -1 when unreachable. */
  readonly position: readonly number[];
  /** Children in the dominator tree, by node. */
  readonly children: readonly (readonly number[])[];
  /** Nodes that more than one forward edge leads to, or an edge from the dispatcher. */
  readonly merges: ReadonlySet<number>;
  /** Nodes that an edge leads back to. */
  readonly loops: ReadonlySet<number>;
  /** Nodes that the dispatcher can go to, by entry number. */
  readonly entries: readonly number[];
  /** Whether the edge goes by way of the dispatcher. */
  dispatched(from: number, to: number): boolean;
}

/** @param successors of nodes 1…n (index 0 unused); @param entries nodes that execution comes to from outside */
export function analyse(successors: readonly (readonly number[])[], entries: readonly number[]): Flow {
  const count = successors.length;
  const targets = [...entries];
  const viaDispatcher = new Set<number>();
  const edge = (from: number, to: number): number => from * count + to;
  for (;;) {
    const follow = (node: number): readonly number[] =>
      node === 0 ? targets : successors[node]!.filter((to) => !viaDispatcher.has(edge(node, to)));
    const order = reversePostorder(count, follow);
    const position = Array.from<number>({ length: count }).fill(-1);
    order.forEach((node, n) => (position[node] = n));
    const dominator = dominators(order, position, follow, count);
    const dominates = (a: number, b: number): boolean => {
      while (position[b]! > position[a]!) b = dominator[b]!;
      return a === b;
    };
    let reducible = true;
    const merges = new Set<number>(targets);
    const loops = new Set<number>();
    const forward = Array.from<number>({ length: count }).fill(0);
    for (const from of order) {
      for (const to of new Set(follow(from))) {
        if (position[to]! > position[from]!) {
          if (++forward[to]! > 1) merges.add(to);
        } else if (dominates(to, from)) loops.add(to);
        else {
          reducible = false;
          viaDispatcher.add(edge(from, to));
          if (!targets.includes(to)) targets.push(to);
        }
      }
    }
    if (!reducible) continue;
    const children: number[][] = Array.from({ length: count }, () => []);
    for (const node of order) if (node !== 0) children[dominator[node]!]!.push(node);
    return { order, position, children, merges, loops, entries: targets, dispatched: (from, to) => viaDispatcher.has(edge(from, to)) };
  }
}

function reversePostorder(count: number, follow: (node: number) => readonly number[]): number[] {
  const seen = Array.from<boolean>({ length: count }).fill(false);
  const order: number[] = [];
  const path: { node: number; next: readonly number[]; at: number }[] = [{ node: 0, next: follow(0), at: 0 }];
  seen[0] = true;
  while (path.length > 0) {
    const top = path.at(-1)!;
    const to = top.next[top.at++];
    if (to === undefined) {
      order.push(top.node);
      path.pop();
    } else if (!seen[to]) {
      seen[to] = true;
      path.push({ node: to, next: follow(to), at: 0 });
    }
  }
  return order.toReversed();
}

/** Immediate dominators; node 0 is its own. */
function dominators(
  order: readonly number[],
  position: readonly number[],
  follow: (node: number) => readonly number[],
  count: number,
): number[] {
  const before: number[][] = Array.from({ length: count }, () => []);
  for (const from of order) for (const to of follow(from)) before[to]!.push(from);
  const dominator = Array.from<number>({ length: count }).fill(-1);
  dominator[0] = 0;
  for (let changed = true; changed;) {
    changed = false;
    for (const node of order) {
      if (node === 0) continue;
      let common = -1;
      for (let other of before[node]!) {
        if (dominator[other] === -1) continue;
        if (common === -1) common = other;
        else {
          while (common !== other) {
            if (position[common]! > position[other]!) common = dominator[common]!;
            else other = dominator[other]!;
          }
        }
      }
      if (dominator[node] !== common) {
        dominator[node] = common;
        changed = true;
      }
    }
  }
  return dominator;
}
