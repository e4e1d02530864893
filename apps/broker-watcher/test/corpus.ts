import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const VERSIONS = ['1.6.15', '2.0.11', '2.0.22', '2.1.2'] as const;
export type Version = (typeof VERSIONS)[number];

/** One line of `mosquitto/<version>.ndjson`; mosquitto/README.md explains the fields. */
export interface CorpusLine {
  seq: number;
  topic: string;
  payload: string;
  payload_base64?: string;
  retain: boolean;
  received_at_ms: number;
  scenario: string | null;
  expect?: CorpusLabel | null;
  effect?: 'open' | 'close' | 'none' | 'close_all' | null;
  metric?: number | null;
  note?: string;
}

export interface CorpusLabel {
  action: string;
  client: string | null;
  topic: string | null;
  qos: number | null;
  username: string | null;
  ts: number | null;
}

export interface Scenario {
  name: string;
  start_ms: number;
  end_ms: number;
  sessions: {
    client: string;
    username: string | null;
    protocol: number;
    clean: boolean;
    started_ms: number;
    ended_ms: number;
    how: string;
  }[];
  active_subscriptions_at_end: { client: string; topic: string; qos: number; client_connected: boolean }[];
  still_connected_at_end: string[];
}

const DIR = join(import.meta.dirname, '..', 'testdata', 'mosquitto');

export function corpusLines(version: Version): CorpusLine[] {
  return readFileSync(join(DIR, `${version}.ndjson`), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as CorpusLine);
}

export function scenarios(version: Version): Scenario[] {
  return (JSON.parse(readFileSync(join(DIR, 'scenarios.json'), 'utf8')) as Record<Version, Scenario[]>)[version];
}

/** The exact bytes of a message. */
export function bytesOf(line: CorpusLine): Buffer {
  return line.payload_base64 === undefined ? Buffer.from(line.payload) : Buffer.from(line.payload_base64, 'base64');
}
