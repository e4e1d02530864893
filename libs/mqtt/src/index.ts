export type { Receipt } from './acknowledgement-window.js';
export { AcknowledgementWindow } from './acknowledgement-window.js';
export { SESSION_EXPIRY_S } from './connect-options.js';
export {
  type BrokerOffer,
  DeferredAckMqttServer,
  type DeferredAckOptions,
  type FilterMemory,
  type ReceivedPacket,
  type Route,
  SessionTakenOverError,
} from './deferred-ack.server.js';
export { topicFilterProblem, topicMatches } from './topic-filter.js';
export { type Delivery, LONGEST_TOPIC_BYTES, RedeliveryLedger } from './redelivery-ledger.js';
