import { hash } from 'node:crypto';
import { bytesToHex, equalBytes, HASH_SIZE_BYTES, HashingError, messageLeafHash, rootOf } from '@tallystick/hashing';

/** A batch as the database has it. */
export interface StoredBatch {
  tenantId: string;
  /** False while it may still grow. */
  isSealed: boolean;
  /** Root that was written at sealing, hex; says nothing before. */
  batchHash: string;
  /** Root over the rows of the last commit. */
  openRoot: Uint8Array;
  messageCount: number;
  /** 32 bytes per message in leaf order; null before sealing, or when they were given up. */
  leafHashes: Uint8Array | null;
}

/** A row of `messages` as the database has it. */
export interface StoredMessage {
  messageId: string;
  leafIndex: number;
  tenantId: string;
  deviceId: string;
  topic: string;
  messageHash: string;
  payload: Uint8Array;
  payloadSize: number;
  nonce: Uint8Array;
  receivedAt: Date;
  deviceSeq: string | null;
  deviceTimestamp: Date | null;
  deviceSignature: string | null;
}

/** What remains of a row once its payload was read: small enough to keep for a whole batch. */
export interface CheckedMessage {
  messageId: string;
  leafIndex: number;
  tenantId: string;
  /** Undefined when its values cannot be those of a message. */
  leafHash: Uint8Array | undefined;
  /** The payload still has the hash and size beside it. */
  isPayloadIntact: boolean;
}

export const DIFFERENCE_REASONS = [
  'payload_altered',
  'message_altered',
  'message_moved',
  'message_missing',
  'message_added',
  'tenant_altered',
  'raw_data_altered',
  'leaf_hashes_altered',
] as const;
export type DifferenceReason = (typeof DIFFERENCE_REASONS)[number];

/** Those that a row itself can have. */
export const MESSAGE_FAULTS = [
  'payload_altered',
  'message_altered',
  'message_moved',
  'message_added',
  'tenant_altered',
  'raw_data_altered',
] as const satisfies readonly DifferenceReason[];
export type MessageFault = (typeof MESSAGE_FAULTS)[number];

/** One thing that is not as it was. A missing message has no id, altered leaf hashes have neither. */
export interface Difference {
  reason: DifferenceReason;
  messageId: string | null;
  leafIndex: number | null;
}

export interface BatchVerification {
  isValid: boolean;
  storedHash: string;
  /** Root over the rows in leaf order; null when there are none, or one of them cannot be a message. */
  calculatedHash: string | null;
  storedMessageCount: number;
  actualMessageCount: number;
  differences: Difference[];
}

const sha256 = (data: Uint8Array): Uint8Array => hash('sha256', data, 'buffer');

/** Recomputes a message's hash and leaf from its columns (docs/formats.md). Never throws: the columns may hold anything. */
export function checkMessage(row: StoredMessage): CheckedMessage {
  const { messageId, leafIndex, tenantId } = row;
  const isPayloadIntact = row.payload.length === row.payloadSize && hash('sha256', row.payload, 'hex') === row.messageHash;
  return { messageId, leafIndex, tenantId, leafHash: leafOf(row), isPayloadIntact };
}

function leafOf(row: StoredMessage): Uint8Array | undefined {
  const { messageId, deviceId, topic, messageHash, payloadSize } = row;
  const entry = {
    messageId,
    deviceId,
    topic,
    messageHash,
    payloadSize,
    receivedAtMs: row.receivedAt.getTime(),
    nonce: bytesToHex(row.nonce),
  };
  const signature = row.deviceSignature !== null && {
    seq: row.deviceSeq === null ? NaN : Number(row.deviceSeq),
    tsMs: row.deviceTimestamp?.getTime() ?? NaN,
    sig: row.deviceSignature,
  };
  try {
    return messageLeafHash(signature ? { ...entry, signature } : entry, sha256);
  } catch (error) {
    if (error instanceof HashingError) return undefined;
    throw error;
  }
}

/** Compares a batch with all rows that carry its id, in order of leaf index, and names what differs. */
export function verifyBatch(batch: StoredBatch, messages: readonly CheckedMessage[]): BatchVerification {
  const storedHash = storedRootOf(batch);
  const calculatedHash = rootOfMessages(messages);
  const expected = expectedLeaves(batch);
  const differences = [...rowDifferences(batch, messages), ...placeDifferences(batch.messageCount, messages, expected)];
  if (expected === 'altered') differences.push({ reason: 'leaf_hashes_altered', messageId: null, leafIndex: null });
  return {
    isValid: calculatedHash === storedHash && messages.length === batch.messageCount && differences.length === 0,
    storedHash,
    calculatedHash,
    storedMessageCount: batch.messageCount,
    actualMessageCount: messages.length,
    differences,
  };
}

export interface MessageVerification {
  isValid: boolean;
  leafHash: string | null;
  /** The batch's leaves have this one at the message's place, and their root is the batch's. */
  isInBatch: boolean;
  storedRoot: string;
  calculatedRoot: string | null;
  faults: MessageFault[];
}

/** Whether one message can be checked by the leaf hashes of its batch, whatever its other rows are like by now. */
export function keepsLeaves(batch: StoredBatch): boolean {
  return Array.isArray(expectedLeaves(batch));
}

/**
 * Compares one message with its batch: with the leaf hashes kept at sealing, or where there are none that make the root
 * (`keepsLeaves`), with all rows of the batch, in order of leaf index; then a root that differs says of no row that it is the one.
 */
export function verifyMessage(batch: StoredBatch, message: CheckedMessage, rows: readonly CheckedMessage[]): MessageVerification {
  const storedRoot = storedRootOf(batch);
  const leaves = expectedLeaves(batch);
  const calculatedRoot = Array.isArray(leaves) ? storedRoot : rootOfMessages(rows);
  const ofMessage = [...rowDifferences(batch, [message]), ...placeDifferences(batch.messageCount, [message], leaves)];
  const faults = ofMessage.flatMap(({ reason, messageId }) => (messageId !== null && isMessageFault(reason) ? [reason] : []));
  const isMisplaced = faults.some((fault) => fault.startsWith('message_'));
  const isInBatch = !isMisplaced && calculatedRoot === storedRoot;
  const leafHash = message.leafHash ? bytesToHex(message.leafHash) : null;
  return { isValid: isInBatch && faults.length === 0, leafHash, isInBatch, storedRoot, calculatedRoot, faults };
}

function isMessageFault(reason: DifferenceReason): reason is MessageFault {
  return (MESSAGE_FAULTS as readonly DifferenceReason[]).includes(reason);
}

function storedRootOf({ isSealed, batchHash, openRoot }: StoredBatch): string {
  return isSealed ? batchHash : bytesToHex(openRoot);
}

function rootOfMessages(messages: readonly CheckedMessage[]): string | null {
  const leaves: Uint8Array[] = [];
  for (const { leafHash } of messages) {
    if (!leafHash) return null;
    leaves.push(leafHash);
  }
  return leaves.length === 0 ? null : bytesToHex(rootOf(leaves, sha256));
}

/** The leaf hashes kept at sealing. They name the row that differs only if they still make the root; else they say nothing. */
function expectedLeaves({ isSealed, leafHashes, batchHash, messageCount }: StoredBatch): Uint8Array[] | 'altered' | undefined {
  if (!isSealed || !leafHashes) return undefined;
  if (leafHashes.length !== messageCount * HASH_SIZE_BYTES) return 'altered';
  const leaves = Array.from({ length: messageCount }, (_, at) => leafHashes.subarray(at * HASH_SIZE_BYTES, (at + 1) * HASH_SIZE_BYTES));
  return bytesToHex(rootOf(leaves, sha256)) === batchHash ? leaves : 'altered';
}

/** What a row shows by itself. The tenant is in no leaf (a topic names it), so the batch's own is the measure. */
function rowDifferences(batch: StoredBatch, messages: readonly CheckedMessage[]): Difference[] {
  return messages.flatMap(({ messageId, leafIndex, isPayloadIntact, tenantId }) => [
    ...(isPayloadIntact ? [] : [{ reason: 'payload_altered' as const, messageId, leafIndex }]),
    ...(tenantId === batch.tenantId ? [] : [{ reason: 'tenant_altered' as const, messageId, leafIndex }]),
  ]);
}

/** What is missing, added, moved or altered, by place. */
function placeDifferences(
  messageCount: number,
  messages: readonly CheckedMessage[],
  leaves: Uint8Array[] | 'altered' | undefined,
): Difference[] {
  const expected = Array.isArray(leaves) ? leaves : undefined;
  const placeOf = new Map(expected?.map((leaf, at) => [bytesToHex(leaf), at]));
  const taken = new Set<number>();
  const differences: Difference[] = [];
  for (const { messageId, leafIndex, leafHash } of messages) {
    const isAdded = leafIndex < 0 || leafIndex >= messageCount || taken.has(leafIndex);
    taken.add(leafIndex);
    const difference = (reason: DifferenceReason) => differences.push({ reason, messageId, leafIndex });
    const at = leafHash && placeOf.get(bytesToHex(leafHash));
    if (expected && leafHash && !isAdded && equalBytes(leafHash, expected[leafIndex]!)) continue;
    if (at !== undefined) difference('message_moved');
    else if (isAdded) difference('message_added');
    else if (expected || !leafHash) difference('message_altered');
  }
  for (let leafIndex = 0; leafIndex < messageCount; leafIndex++) {
    if (!taken.has(leafIndex)) differences.push({ reason: 'message_missing', messageId: null, leafIndex });
  }
  return differences;
}
