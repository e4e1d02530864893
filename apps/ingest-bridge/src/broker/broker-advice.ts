/** What a broker says of itself when it accepts a connection (CONNACK, MQTT 5 section 3.2.2.3); nothing of it in 3.1.1. */
export interface BrokerOffer {
  protocolVersion: 4 | 5;
  maximumQoS?: number | undefined;
  maximumPacketSize?: number | undefined;
  sharedSubscriptionAvailable?: boolean | undefined;
  /** Seconds, when the broker grants less than was asked. */
  sessionExpiryInterval?: number | undefined;
}

export interface BrokerNeeds {
  maxUnacknowledged: number;
  maxPayloadBytes: number;
  sharedGroup: string | undefined;
  sessionExpiryS: number;
  dedupKey: string | undefined;
}

/** Topic, packet header and properties around a payload, generously. */
const PACKET_OVERHEAD_BYTES = 1_024;

/** What is wrong with a broker's settings for a system of record, each with the line for mosquitto.conf that mends it. */
export function brokerAdvice(offer: BrokerOffer, needs: BrokerNeeds): string[] {
  const advice = [];
  if (offer.maximumQoS === 0) {
    advice.push('the broker offers QoS 0 only, so nothing is acknowledged and messages can be lost: max_qos 2');
  }
  if (offer.protocolVersion === 4) {
    advice.push(
      `the broker was not asked in MQTT 5, so its own in-flight window counts (20 by default): max_inflight_messages ${needs.maxUnacknowledged}`,
    );
  }
  if (offer.protocolVersion === 4 && needs.dedupKey !== undefined) {
    advice.push('the broker speaks MQTT 3.1.1, so messages have no user properties and DEDUP_KEY finds none: use a broker with MQTT 5');
  }
  const largestPacket = needs.maxPayloadBytes + PACKET_OVERHEAD_BYTES;
  if (offer.maximumPacketSize !== undefined && offer.maximumPacketSize < largestPacket) {
    advice.push(
      `the broker refuses packets over ${offer.maximumPacketSize} bytes, MAX_PAYLOAD_BYTES is ${needs.maxPayloadBytes}: max_packet_size ${largestPacket}`,
    );
  }
  if (offer.sharedSubscriptionAvailable === false && needs.sharedGroup !== undefined) {
    advice.push('the broker has no shared subscriptions: unset MQTT_SHARED_GROUP and run one bridge');
  }
  if (offer.sessionExpiryInterval !== undefined && offer.sessionExpiryInterval < needs.sessionExpiryS) {
    advice.push(
      `the broker keeps the session for ${offer.sessionExpiryInterval} s only, so messages are lost when the bridge is away longer: persistent_client_expiration 7d`,
    );
  }
  return advice;
}

/** `$SYS/broker/publish/messages/dropped` of Mosquitto: messages that it took from publishers and then threw away. */
export const DROPPED_TOPIC = '$SYS/broker/publish/messages/dropped';
export const DROPPED_ADVICE = 'the broker drops messages because a queue is full: max_queued_messages 1000000';
