// What the hand-written consumers share: the same row, with the same hash of the same bytes, in the tables of the product. They do
// less for it than the product does: no tree over a batch, no sealing, no device counters, no quarantine, no redelivery ledger.
import { hash, randomBytes } from 'node:crypto';
import { uuidv7 } from '../../dist/libs/persistence/src/index.js';

/** As many as the default pool has connections: all rows in one batch would make them queue for its lock (foreign key). */
const BATCHES = 10;

/** A pg prepared statement, the fastest way by single rows. */
export const INSERT_MESSAGE = {
  name: 'insert-message',
  text: `INSERT INTO messages (batch_id, leaf_index, message_id, tenant_id, site_id, device_id, topic, message_hash, raw_data, payload,
           payload_size, nonce, received_at, device_timestamp, qos, retained, packet_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
};

/** In the order of INSERT_MESSAGE. */
export function valuesOf(message) {
  const { batchId, leafIndex, messageId, tenantId, siteId, deviceId, topic, messageHash, rawData } = message;
  const { payload, payloadSize, nonce, receivedAt, deviceTimestamp, qos, retained, packetId } = message;
  const ids = [batchId, leafIndex, messageId, tenantId, siteId, deviceId, topic, messageHash];
  return [...ids, JSON.stringify(rawData), payload, payloadSize, nonce, receivedAt, deviceTimestamp, qos, retained, packetId];
}

/** Turns deliveries into rows that the foreign keys accept. `query(text, values)` runs one statement. */
export class RowMaker {
  constructor(query) {
    this.query = query;
    this.batchIds = Array.from({ length: BATCHES }, () => uuidv7(Date.now()));
    this.made = 0;
    /** By tenant and device, the insert of the device: done once a process. */
    this.devices = new Map();
  }

  /** Batches of this process. A peer has no tree, so root and hash are of nothing. */
  async start() {
    await this.query(
      `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, open_root, receiver)
       SELECT id, 'peer', repeat('0', 64), 1, now(), now(), '', 'peer' FROM unnest($1::uuid[]) AS id`,
      [this.batchIds],
    );
  }

  /** The row of a delivery, with the property names of the Message entity; `parsed` is the payload as JSON. */
  rowOf(topic, payload, parsed, { qos, retain, messageId: packetId }) {
    const [, tenantId, siteId, deviceId] = topic.split('/');
    const receivedAt = new Date();
    const index = this.made++;
    return {
      messageId: uuidv7(receivedAt.getTime()),
      batchId: this.batchIds[index % BATCHES],
      leafIndex: Math.floor(index / BATCHES),
      tenantId,
      siteId,
      deviceId,
      topic,
      messageHash: hash('sha256', payload, 'hex'),
      rawData: parsed,
      payload,
      payloadSize: payload.length,
      nonce: randomBytes(16),
      receivedAt,
      deviceTimestamp: new Date(parsed.timestamp * 1000),
      qos,
      retained: retain,
      packetId: packetId ?? null,
    };
  }

  /** Resolves when the device of a row is there. */
  device({ tenantId, siteId, deviceId }) {
    const key = `${tenantId}/${deviceId}`;
    let inserted = this.devices.get(key);
    if (!inserted) {
      const text = 'INSERT INTO devices (tenant_id, device_id, site_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING';
      inserted = this.query(text, [tenantId, deviceId, siteId]);
      this.devices.set(key, inserted);
    }
    return inserted;
  }
}

/** From the environment. */
export const settings = {
  mqttUrl: process.env.MQTT_URL,
  databaseUrl: process.env.DATABASE_URL,
  clientId: process.env.MQTT_CLIENT_ID,
  topicFilter: process.env.MQTT_TOPICS,
};
