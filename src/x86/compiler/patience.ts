/**
 * Pages whose code keeps changing. What is compiled there is soon thrown away, so each time it has to be twice as hot;
 * a page that has been quiet is trusted again.
 */
interface Restless {
  /** Times that compiled code had to go, lately. */
  changes: number;
  /** Times that something there was hot since. */
  asked: number;
  /** Modules made when it last changed. */
  changedAt: number;
}

/** A page that has been quiet for as many modules is half as restless. */
const QUIET_MODULES = 32;

export class Patience {
  readonly #most: number;
  readonly #pages = new Map<number, Restless>();

  /** @param most a page's code is compiled after at most 2^most times the usual heat; 0: always at once */
  constructor(most: number) {
    this.#most = most;
  }

  /** Compiled code on a RAM page had to go. @param modules made so far */
  changed(page: number, modules: number): void {
    if (this.#most === 0) return;
    const restless = this.#pages.get(page);
    if (!restless) {
      this.#pages.set(page, { changes: 1, asked: 0, changedAt: modules });
      return;
    }
    const quiet = Math.floor((modules - restless.changedAt) / QUIET_MODULES);
    restless.changes = Math.min(restless.changes / 2 ** quiet + 1, this.#most);
    restless.asked = 0;
    restless.changedAt = modules;
  }

  /** Something on a RAM page is hot: whether to compile it now. */
  allows(page: number): boolean {
    const restless = this.#pages.get(page);
    return !restless || ++restless.asked >= 2 ** Math.floor(restless.changes - 1);
  }
}
