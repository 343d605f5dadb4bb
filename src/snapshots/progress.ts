/** How far long work has come, for whoever shows it. */
export interface ProgressReport {
  /** What is being done, as shown to a person: `package index`, `packages`. */
  readonly step: string;
  readonly done: number;
  readonly total: number | undefined;
  readonly unit: 'bytes' | 'items';
}

export type Progress = (report: ProgressReport) => void;
