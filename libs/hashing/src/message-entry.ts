import { bytesToHex } from './bytes.js';
import {
  hasExactly,
  isBase58,
  isCount,
  isHashHex,
  isNonceHex,
  isText,
  isUuid,
  malformed,
  parseMembers,
  type Decoded,
  type Unchecked,
} from './entry-members.js';
import { HashingError } from './hashing-error.js';
import { nobleSha256, type Sha256 } from './sha256.js';

// The byte formats of docs/formats.md. A change of any byte is a new `type`, never an edit: old leaves stay in old trees.
const MESSAGE_TYPE = 'telemetry.message/v1';
// Sorted, as canonical form has them.
const MESSAGE_MEMBERS = ['device_id', 'message_hash', 'message_id', 'nonce', 'payload_size', 'received_at', 'topic', 'type'];
const SIGNED_MESSAGE_MEMBERS = ['device_id', 'device_seq', 'device_sig', 'device_ts', ...MESSAGE_MEMBERS.slice(1)];

/** What a device signed beside the payload: a sequence number, its own clock in ms, and the signature in base58. */
export interface DeviceSignature {
  readonly seq: number;
  readonly tsMs: number;
  readonly sig: string;
}

/** One stored message, a leaf of its batch's tree. Integers from 0 to 2^53 - 1; all hex in lower case. */
export interface MessageEntry {
  /** UUID, lower case. */
  readonly messageId: string;
  readonly deviceId: string;
  readonly topic: string;
  readonly receivedAtMs: number;
  readonly payloadSize: number;
  /** SHA-256 of the payload bytes, 64 hex digits. */
  readonly messageHash: string;
  /** 16 random bytes, 32 hex digits: without it a sibling's hash would betray a guessable payload. */
  readonly nonce: string;
  readonly signature?: DeviceSignature;
}

const encoder = new TextEncoder();

// Every message is encoded into this buffer: `encodeInto` costs a tenth of `encode`. Safe because nothing here is asynchronous and
// a Sha256 keeps nothing. U+0000 before the text gives 0x00, the prefix of a leaf (RFC 6962 section 2.1), without a copy.
let leafInput = new Uint8Array(4096);

/** SHA-256 of the payload bytes as received, 64 lower-case hex digits: what `sha256sum` prints. */
export function messageHash(payload: Uint8Array, sha256: Sha256 = nobleSha256): string {
  return bytesToHex(sha256(payload));
}

/** Canonical bytes of a message entry (telemetry.message/v1); throws `invalid_entry` for what `decodeMessageEntry` would refuse. */
export function encodeMessageEntry(entry: MessageEntry): Uint8Array {
  return encodeLeafInput(entry).slice(1);
}

/** Leaf hash of a message in its batch's tree, SHA-256(0x00 || entry bytes), 32 bytes; throws `invalid_entry`. */
export function messageLeafHash(entry: MessageEntry, sha256: Sha256 = nobleSha256): Uint8Array {
  return sha256(encodeLeafInput(entry));
}

/** The message entry in `bytes`: canonical, with exactly the members of telemetry.message/v1, all in range. Never throws. */
export function decodeMessageEntry(bytes: Uint8Array): Decoded<MessageEntry> {
  const parsed = parseMembers(bytes, MESSAGE_TYPE);
  if (parsed.kind === 'malformed') return parsed;
  const { members } = parsed;
  const isSigned = 'device_sig' in members;
  if (!hasExactly(members, isSigned ? SIGNED_MESSAGE_MEMBERS : MESSAGE_MEMBERS)) return malformed('missing or unknown members');
  const entry: Unchecked<MessageEntry> = {
    messageId: members.message_id,
    deviceId: members.device_id,
    topic: members.topic,
    receivedAtMs: members.received_at,
    payloadSize: members.payload_size,
    messageHash: members.message_hash,
    nonce: members.nonce,
    ...(isSigned && { signature: { seq: members.device_seq, tsMs: members.device_ts, sig: members.device_sig } }),
  };
  const fault = messageFault(entry);
  return fault === undefined ? { kind: 'ok', entry: entry as MessageEntry } : malformed(fault);
}

/** A view of `leafInput` with 0x00 and the entry's bytes, good until the next call. */
function encodeLeafInput(entry: MessageEntry): Uint8Array {
  const text = messageEntryText(entry);
  // UTF-8 takes at most three bytes for a UTF-16 code unit.
  const capacity = 1 + 3 * text.length;
  if (leafInput.length < capacity) leafInput = new Uint8Array(capacity);
  const { written } = encoder.encodeInto(`\0${text}`, leafInput);
  return leafInput.subarray(0, written);
}

/**
 * `canonicalJson` of the entry, written by hand: the bridge does this for every message. Only device_id and topic can need escapes;
 * messageFault has bound the other strings to hex, base58 and UUIDs.
 */
function messageEntryText(entry: MessageEntry): string {
  const fault = messageFault(entry);
  if (fault !== undefined) throw new HashingError('invalid_entry', `message entry: ${fault}`);
  const { signature } = entry;
  const signed = signature ? `"device_seq":${signature.seq},"device_sig":"${signature.sig}","device_ts":${signature.tsMs},` : '';
  return (
    `{"device_id":${JSON.stringify(entry.deviceId)},${signed}"message_hash":"${entry.messageHash}","message_id":"${entry.messageId}",` +
    `"nonce":"${entry.nonce}","payload_size":${entry.payloadSize},"received_at":${entry.receivedAtMs},` +
    `"topic":${JSON.stringify(entry.topic)},"type":"${MESSAGE_TYPE}"}`
  );
}

/** Why these values are no message entry, in the member names of the format; shared by encoder and decoder so that they agree. */
function messageFault(entry: Unchecked<MessageEntry>): string | undefined {
  if (!isUuid(entry.messageId)) return 'message_id is not a lower-case UUID';
  if (!isText(entry.deviceId)) return 'device_id is not a well-formed string';
  if (!isText(entry.topic)) return 'topic is not a well-formed string';
  if (!isCount(entry.receivedAtMs)) return 'received_at is not an integer from 0 to 2^53 - 1';
  if (!isCount(entry.payloadSize)) return 'payload_size is not an integer from 0 to 2^53 - 1';
  if (!isHashHex(entry.messageHash)) return 'message_hash is not 64 lower-case hex digits';
  if (!isNonceHex(entry.nonce)) return 'nonce is not 32 lower-case hex digits';
  return entry.signature === undefined ? undefined : signatureFault(entry.signature as Unchecked<DeviceSignature>);
}

function signatureFault({ seq, tsMs, sig }: Unchecked<DeviceSignature>): string | undefined {
  if (!isCount(seq)) return 'device_seq is not an integer from 0 to 2^53 - 1';
  if (!isCount(tsMs)) return 'device_ts is not an integer from 0 to 2^53 - 1';
  // Shape only: a wrong signature is stored and flagged, so what is no valid one must still have an entry.
  if (!isBase58(sig)) return 'device_sig is not 1 to 88 base58 characters';
  return undefined;
}
