/**
 * The names in a directory. Each entry has a cookie that grows in the order of making, so that a listing can go on where it
 * stopped, whatever was made or removed meanwhile: readdir(3) gives every name that was there all the time exactly once.
 */
export interface Entry {
  readonly name: string;
  readonly ino: number;
  /** From 3 on: `.` and `..` come before. */
  readonly cookie: number;
}

const FIRST_COOKIE = 3;

export class Directory {
  readonly #byName = new Map<string, Entry>();
  /** By cookie; removed ones stay until they are the half. */
  #ordered: (Entry | undefined)[] = [];
  #cookies: number[] = [];
  #nextCookie = FIRST_COOKIE;

  get size(): number {
    return this.#byName.size;
  }

  get nextCookie(): number {
    return this.#nextCookie;
  }

  get(name: string): number | undefined {
    return this.#byName.get(name)?.ino;
  }

  /** The name must not be there. */
  add(name: string, ino: number): void {
    this.#append({ name, ino, cookie: this.#nextCookie });
  }

  #append(entry: Entry): void {
    this.#byName.set(entry.name, entry);
    this.#ordered.push(entry);
    this.#cookies.push(entry.cookie);
    this.#nextCookie = entry.cookie + 1;
  }

  /** Lets a name that is there mean another inode. */
  replace(name: string, ino: number): void {
    const old = this.#byName.get(name)!;
    const entry = { ...old, ino };
    this.#byName.set(name, entry);
    this.#ordered[this.#indexOf(old.cookie)] = entry;
  }

  remove(name: string): void {
    const entry = this.#byName.get(name);
    if (!entry) return;
    this.#byName.delete(name);
    this.#ordered[this.#indexOf(entry.cookie)] = undefined;
    if (this.#ordered.length < 16 || this.#byName.size * 2 > this.#ordered.length) return;
    this.#ordered = this.#ordered.filter((one) => one !== undefined);
    this.#cookies = this.#ordered.map((one) => one!.cookie);
  }

  /** Entries behind a cookie, in order, until `visit` answers false. */
  visit(after: number, visit: (entry: Entry) => boolean): void {
    for (let index = this.#indexOf(after + 1); index < this.#ordered.length; index++) {
      const entry = this.#ordered[index];
      if (entry && !visit(entry)) return;
    }
  }

  /** Position of the first entry whose cookie is not smaller. */
  #indexOf(cookie: number): number {
    let low = 0;
    let high = this.#cookies.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#cookies[middle]! < cookie) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  entries(): Entry[] {
    return this.#ordered.filter((entry) => entry !== undefined);
  }

  /** Fills an empty directory from what `entries` gave. False when cookies do not grow or a name is there twice. */
  restore(entries: readonly Entry[], nextCookie: number): boolean {
    for (const entry of entries) {
      if (entry.cookie < this.#nextCookie || this.#byName.has(entry.name)) return false;
      this.#append(entry);
    }
    if (nextCookie < this.#nextCookie) return false;
    this.#nextCookie = nextCookie;
    return true;
  }
}
