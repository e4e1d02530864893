export type Severity = 'critical' | 'warning';

/** One thing that a look at the database found. */
export interface AlertFinding {
  /** What it is about; a kind has at most one open alert for each. */
  subject: string;
  /** False: too little to open an alert, too much to end one that is open. */
  opens: boolean;
  /** Of what does not end by itself, how much there is: more of it is told again. 0 otherwise. */
  level: number;
  /** One sentence. */
  summary: string;
  details: Record<string, unknown>;
  /** Where the API shows more. */
  path: string;
}

/** `1 batch`, `2 batches`; from `most` on it is not known how many more there are. */
export function counted(count: number, [one, many]: readonly [string, string], most = Infinity): string {
  return `${count >= most ? 'at least ' : ''}${count} ${count === 1 ? one : many}`;
}
