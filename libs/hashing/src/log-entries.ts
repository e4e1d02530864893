import { canonicalBytes } from './canonical-json.js';
import { hasExactly, isCount, isHashHex, isUuid, malformed, parseMembers, type Decoded, type Unchecked } from './entry-members.js';
import { HashingError } from './hashing-error.js';

// The byte formats of docs/formats.md. A change of any byte is a new `type`, never an edit: old leaves stay in old trees.
const BATCH_TYPE = 'telemetry.batch/v1';
// Sorted, as canonical form has them.
const BATCH_MEMBERS = ['batch_id', 'end', 'message_count', 'root', 'start', 'type'];

/** One sealed batch, a leaf of the log. */
export interface BatchEntry {
  /** UUID, lower case. */
  readonly batchId: string;
  /** Number of leaves in the batch's tree, at least 1. */
  readonly messageCount: number;
  /** Root of the batch's tree, 64 hex digits. */
  readonly root: string;
  /** Earliest and latest time of receipt. */
  readonly startMs: number;
  readonly endMs: number;
}

/** Canonical bytes of a batch's log entry (telemetry.batch/v1); throws `invalid_entry` for what `decodeBatchEntry` would refuse. */
export function encodeBatchEntry(entry: BatchEntry): Uint8Array {
  const fault = batchFault(entry);
  if (fault !== undefined) throw new HashingError('invalid_entry', `batch entry: ${fault}`);
  return canonicalBytes({
    type: BATCH_TYPE,
    batch_id: entry.batchId,
    message_count: entry.messageCount,
    root: entry.root,
    start: entry.startMs,
    end: entry.endMs,
  });
}

/** The batch entry in `bytes`: canonical, with exactly the members of telemetry.batch/v1, all in range. Never throws. */
export function decodeBatchEntry(bytes: Uint8Array): Decoded<BatchEntry> {
  const parsed = parseMembers(bytes, BATCH_TYPE);
  if (parsed.kind === 'malformed') return parsed;
  const { members } = parsed;
  if (!hasExactly(members, BATCH_MEMBERS)) return malformed('missing or unknown members');
  const entry: Unchecked<BatchEntry> = {
    batchId: members.batch_id,
    messageCount: members.message_count,
    root: members.root,
    startMs: members.start,
    endMs: members.end,
  };
  const fault = batchFault(entry);
  return fault === undefined ? { kind: 'ok', entry: entry as BatchEntry } : malformed(fault);
}

function batchFault(entry: Unchecked<BatchEntry>): string | undefined {
  const { startMs, endMs } = entry;
  if (!isUuid(entry.batchId)) return 'batch_id is not a lower-case UUID';
  if (!isCount(entry.messageCount) || entry.messageCount === 0) return 'message_count is not an integer from 1 to 2^53 - 1';
  if (!isHashHex(entry.root)) return 'root is not 64 lower-case hex digits';
  if (!isCount(startMs)) return 'start is not an integer from 0 to 2^53 - 1';
  if (!isCount(endMs)) return 'end is not an integer from 0 to 2^53 - 1';
  return startMs > endMs ? 'start is after end' : undefined;
}
