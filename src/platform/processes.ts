/** Which processes of this computer still run. */
export interface Processes {
  /** Names this process: no other one, here or on another computer, has that name. */
  readonly own: string;
  /** True when a process of this name ran on this computer and is over; false where it runs, ran elsewhere, or nobody can say. */
  isOver(name: string): Promise<boolean>;
}
