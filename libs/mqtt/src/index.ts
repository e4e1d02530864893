export type { Receipt } from './acknowledgement-window.js';
export { DeferredAckMqttServer, type DeferredAckOptions, type ReceivedPacket, type Route } from './deferred-ack.server.js';
export { topicFilterProblem, topicMatches } from './topic-filter.js';
