import { hash } from 'node:crypto';
import type { ReceivedPacket, Receipt } from '@tallystick/mqtt';
import type { LogLine } from '../log-lines/log-line.js';

/** A log line as it came, before it is read. */
export interface ReceivedLine {
  topic: string;
  payload: Buffer;
  /** What is stored of it: text without U+0000, which PostgreSQL cannot hold. */
  raw: string;
  /** SHA-256 of `raw`, hex: with the packet identifier it tells a redelivery. */
  rawHash: string;
  receivedAtMs: number;
  /** Monotonic ms of receipt. */
  arrivedAtMs: number;
  receipt: Receipt | undefined;
}

/** One row of `events`. */
export interface RecordedLine {
  line: LogLine;
  raw: string;
  tsMs: number;
  receivedAtMs: number;
  /** Monotonic ms of receipt. */
  arrivedAtMs: number;
  packetId: number | null;
  lineCount: number;
}

/** Of a longer line only this is kept; a broker's are at most 999 bytes. */
const LONGEST_RAW = 64 * 1024;

export function receivedLine({ topic, payload, receivedAtMs, arrivedAtMs, receipt }: ReceivedPacket): ReceivedLine {
  const raw = payload.subarray(0, LONGEST_RAW).toString().replaceAll('\0', '\ufffd');
  return { topic, payload, raw, rawHash: hashOfRaw(raw), receivedAtMs, arrivedAtMs, receipt };
}

export function hashOfRaw(raw: string): string {
  return hash('sha256', raw, 'hex');
}

/** Longest text in bytes that an index of PostgreSQL holds whatever its content; two of them stand in one entry. */
const LONGEST_KEY_BYTES = 1_200;

/** The line without what PostgreSQL cannot hold or find again. Mosquitto writes no such line. */
export function storable(line: LogLine): LogLine {
  const tooLong = [line.client, line.topic].some((text) => text !== null && Buffer.byteLength(text) > LONGEST_KEY_BYTES);
  if (tooLong) return { ...line, client: null, topic: null, truncated: true };
  const hasNul = [line.client, line.topic, line.username, line.address, line.reason].some((text) => text?.includes('\0'));
  if (!hasNul) return line;
  const clean = (text: string | null) => text?.replaceAll('\0', '\ufffd') ?? null;
  return {
    ...line,
    client: clean(line.client),
    topic: clean(line.topic),
    username: clean(line.username),
    address: clean(line.address),
    reason: clean(line.reason),
  };
}
