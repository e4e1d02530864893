/** What publishing came to so far. */
export interface PublishCounts {
  published: number;
  acknowledged: number;
  /** Acknowledged with an error: the broker did not take them. */
  refused: number;
  /** Acknowledged by a broker that said (as MQTT 5 lets it) that nobody is subscribed. */
  withoutSubscriber: number;
  /** Why the first one was refused. */
  refusal?: string;
}

export interface SimulationResult extends PublishCounts {
  /** The id in the payloads' `metadata.run`. */
  run: string;
  /** Messages of this run in the record; undefined when nobody was asked, or nobody answered. */
  stored: number | undefined;
  /** Why the record, though asked, did not answer at the end. */
  recordProblem?: string | undefined;
  /** The first publish to the last acknowledgement. */
  elapsedMs: number;
  /** It was asked to stop. */
  interrupted: boolean;
}

/** 0 when everything published was acknowledged and, if asked, stored; 1 when not; 130 after Ctrl-C (128 + SIGINT). */
export function exitCodeOf({ published, acknowledged, stored, recordProblem, interrupted }: SimulationResult): 0 | 1 | 130 {
  if (interrupted) return 130;
  return acknowledged === published && recordProblem === undefined && (stored === undefined || stored >= acknowledged) ? 0 : 1;
}

export interface Progress extends PublishCounts {
  elapsedMs: number;
  /** Acknowledged per second since the last line. */
  ratePerS: number;
  inFlight: number;
  /** Why nothing moves; undefined while connected. */
  problem?: string | undefined;
}

export function progressLine({ elapsedMs, published, acknowledged, ratePerS, inFlight, problem }: Progress): string {
  const counts = `published ${grouped(published)}  acknowledged ${grouped(acknowledged)}  ${rate(ratePerS)}  in flight ${grouped(inFlight)}`;
  return `${clock(elapsedMs)}  ${counts}${problem === undefined ? '' : `  (${problem}; reconnecting)`}`;
}

/** The final count, one line each, then what a person should know about it. */
export function resultLines(result: SimulationResult): string[] {
  const { published, acknowledged, refused, withoutSubscriber, stored, elapsedMs } = result;
  const lines = [
    `published     ${grouped(published)} in ${(elapsedMs / 1000).toFixed(1)} s (${rate(elapsedMs === 0 ? 0 : (acknowledged * 1000) / elapsedMs)})`,
    `acknowledged  ${grouped(acknowledged)} by the broker`,
    `stored        ${storedText(result)}`,
  ];
  const unanswered = published - acknowledged - refused;
  if (refused > 0) lines.push(`The broker refused ${grouped(refused)}: ${result.refusal ?? 'it gave no reason'}.`);
  if (unanswered > 0) lines.push(`The broker did not answer ${grouped(unanswered)}; they may or may not have arrived.`);
  if (withoutSubscriber > 0) {
    lines.push(`Nobody was subscribed to ${grouped(withoutSubscriber)} of them: is ingest-bridge running, and do its MQTT_TOPICS fit?`);
  } else if (stored !== undefined && stored < acknowledged) {
    lines.push(
      `${grouped(acknowledged - stored)} are not in the record: is ingest-bridge running, and does it write to the database asked?`,
    );
  }
  if (stored !== undefined && stored > acknowledged)
    lines.push('More are stored than acknowledged: some were sent twice, or others send for these devices.');
  return lines;
}

function storedText({ stored, recordProblem }: SimulationResult): string {
  if (recordProblem !== undefined) return `unknown (${recordProblem})`;
  return stored === undefined ? 'not asked (set DATABASE_URL or give --api to have it counted)' : grouped(stored);
}

function rate(perS: number): string {
  return `${perS.toLocaleString('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 1 })}/s`;
}

function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** Elapsed time as 1:02:03 or 02:03. */
function clock(elapsedMs: number): string {
  const seconds = Math.floor(elapsedMs / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part) => String(part).padStart(2, '0')).join(':');
}
