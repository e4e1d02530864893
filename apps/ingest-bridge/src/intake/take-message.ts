import { isUtf8 } from 'node:buffer';
import type { RejectionReason } from '@tallystick/persistence';
import { deviceTimeMs } from './device-time.js';
import { scanJson } from './json-scan.js';
import { matchTopicPattern, type TopicIdentity, type TopicPattern } from './topic-pattern.js';

export const PAYLOAD_FORMATS = ['json', 'object', 'any'] as const;
export type PayloadFormat = (typeof PAYLOAD_FORMATS)[number];

export interface IntakeRules {
  patterns: readonly TopicPattern[];
  payloadFormat: PayloadFormat;
  maxPayloadBytes: number;
}

/** What a message says of itself, checked. Times are Unix ms. */
export interface TelemetryContent extends TopicIdentity {
  /** The payload as JSON text when jsonb can hold it, otherwise null with the reason. */
  rawData: string | null;
  rawDataError: string | null;
  deviceTimestampMs: number | null;
  firmwareVersion: string | null;
}

export type Intake =
  { kind: 'accepted'; content: TelemetryContent } | { kind: 'rejected'; reason: RejectionReason; detail: string; tenantId: string | null };

const MAX_DEPTH = 64;
const MAX_TOPIC_LENGTH = 255;
const MAX_IDENTIFIER_LENGTH = 100;
const MAX_FIRMWARE_LENGTH = 50;

/**
 * Decides what becomes of a message: stored with these values, or quarantined with this reason. Never throws; linear in the
 * size of the payload; size and depth are checked before anything is parsed.
 */
export function takeMessage(topic: string, payload: Buffer, rules: IntakeRules): Intake {
  const identity = identify(topic, rules.patterns);
  if (!identity) return rejected('topic_mismatch', 'the topic fits none of the configured patterns', null);
  const tenantId = lengthOf(identity.tenantId) > MAX_IDENTIFIER_LENGTH ? null : identity.tenantId;
  const tooLong = Object.entries(identity).find(([, text]) => lengthOf(text as string) > MAX_IDENTIFIER_LENGTH);
  if (tooLong) return rejected('identifier_too_long', `${tooLong[0]} has more than ${MAX_IDENTIFIER_LENGTH} characters`, tenantId);
  if (lengthOf(topic) > MAX_TOPIC_LENGTH)
    return rejected('topic_too_long', `the topic has more than ${MAX_TOPIC_LENGTH} characters`, tenantId);
  if (payload.length > rules.maxPayloadBytes) {
    return rejected('payload_too_large', `${payload.length} bytes, the limit is ${rules.maxPayloadBytes}`, tenantId);
  }
  const json = readJson(payload);
  if (json.kind === 'refused') {
    if (rules.payloadFormat !== 'any') return rejected(json.reason, json.detail, tenantId);
    const content = { ...identity, rawData: null, rawDataError: json.detail, deviceTimestampMs: null, firmwareVersion: null };
    return { kind: 'accepted', content };
  }
  return takeJson(identity, json, rules.payloadFormat);
}

function takeJson(identity: TopicIdentity, json: ReadJson & { kind: 'json' }, format: PayloadFormat): Intake {
  const raw = { rawData: json.jsonbProblem === undefined ? json.text : null, rawDataError: json.jsonbProblem ?? null };
  if (!isObject(json.value)) {
    if (format === 'object') return rejected('not_object', 'the payload is JSON, but no object', identity.tenantId);
    return { kind: 'accepted', content: { ...identity, ...raw, deviceTimestampMs: null, firmwareVersion: null } };
  }
  const { deviceId, tenantId, timestamp } = json.value;
  if (isGiven(deviceId) && !namesDevice(deviceId, identity.deviceId)) {
    return rejected('device_mismatch', 'the deviceId of the payload is not the device of the topic', identity.tenantId);
  }
  if (isGiven(tenantId) && tenantId !== identity.tenantId) {
    return rejected('tenant_mismatch', 'the tenantId of the payload is not the tenant of the topic', identity.tenantId);
  }
  const deviceTimestampMs = isGiven(timestamp) ? deviceTimeMs(timestamp) : null;
  if (deviceTimestampMs === undefined) {
    return rejected('bad_timestamp', 'timestamp is neither Unix seconds or milliseconds nor RFC 3339 with an offset', identity.tenantId);
  }
  return { kind: 'accepted', content: { ...identity, ...raw, deviceTimestampMs, firmwareVersion: firmwareOf(json.value) } };
}

type ReadJson =
  | { kind: 'json'; value: unknown; text: string; jsonbProblem: string | undefined }
  | { kind: 'refused'; reason: 'not_json' | 'too_deep'; detail: string };

function readJson(payload: Buffer): ReadJson {
  if (!isUtf8(payload)) return { kind: 'refused', reason: 'not_json', detail: 'the payload is not UTF-8' };
  const scan = scanJson(payload, MAX_DEPTH);
  if (scan.depth > MAX_DEPTH) return { kind: 'refused', reason: 'too_deep', detail: `nested deeper than ${MAX_DEPTH} levels` };
  const text = payload.toString('utf8');
  try {
    return { kind: 'json', value: JSON.parse(text), text, jsonbProblem: scan.jsonbProblem };
  } catch {
    // The parser's own message quotes the payload; the position is not worth that.
    return { kind: 'refused', reason: 'not_json', detail: text === '' ? 'the payload is empty' : 'the payload is not JSON (RFC 8259)' };
  }
}

function identify(topic: string, patterns: readonly TopicPattern[]): TopicIdentity | undefined {
  if (topic.includes('\0')) return undefined;
  for (const pattern of patterns) {
    const identity = matchTopicPattern(pattern, topic);
    if (identity) return identity;
  }
  return undefined;
}

function firmwareOf(value: Record<string, unknown>): string | null {
  const nested = isObject(value.metadata) ? value.metadata.firmware_version : undefined;
  const firmware = nested ?? value.firmwareVersion;
  if (typeof firmware !== 'string' || firmware === '' || firmware.includes('\0') || !firmware.isWellFormed()) return null;
  return [...firmware.slice(0, 2 * MAX_FIRMWARE_LENGTH)].slice(0, MAX_FIRMWARE_LENGTH).join('');
}

/** A device may write its number without quotes. */
function namesDevice(value: unknown, deviceId: string): boolean {
  return typeof value === 'number' ? String(value) === deviceId : value === deviceId;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Characters as PostgreSQL counts them: code points. */
function lengthOf(text: string): number {
  return text.length <= MAX_IDENTIFIER_LENGTH ? text.length : [...text].length;
}

function rejected(reason: RejectionReason, detail: string, tenantId: string | null): Intake {
  return { kind: 'rejected', reason, detail, tenantId };
}
