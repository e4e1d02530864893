export { HASH_SIZE_BYTES, nobleSha256, type Sha256 } from './sha256.js';
export { HashingError, type HashingErrorCode } from './hashing-error.js';
export { base64ToBytes, bytesToBase64, bytesToHex, concatBytes, equalBytes, hexToBytes } from './bytes.js';
export { consistencyPath, emptyRoot, inclusionPath, leafHash, nodeHash, rootOf } from './merkle-tree.js';
export { verifyConsistency, verifyInclusion, type ConsistencyProof, type InclusionProof, type Verdict } from './merkle-proof.js';
export { IncrementalTree } from './incremental-tree.js';
export { canonicalBytes, canonicalJson, isCanonical, parseCanonical, type CanonicalParse, type JsonValue } from './canonical-json.js';
export { type Decoded } from './entry-members.js';
export {
  decodeMessageEntry,
  encodeMessageEntry,
  messageHash,
  messageLeafHash,
  type DeviceSignature,
  type MessageEntry,
} from './message-entry.js';
export { decodeBatchEntry, encodeBatchEntry, type BatchEntry } from './log-entries.js';
