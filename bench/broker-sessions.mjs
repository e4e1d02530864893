// Persistent sessions at the broker and what is published into them.
import { clearTimeout } from 'node:timers';
import { connectAsync } from 'mqtt';

const DAY_S = 24 * 3600;
const MOST_IN_FLIGHT = 500;
const QUIET_LIMIT_MS = 30_000;

/**
 * @typedef {object} Session what a consumer will come back to
 * @property {string} clientId
 * @property {4 | 5} protocolVersion
 * @property {string} filter
 */

/** Makes the session that the consumer will resume, so that the broker queues for it from now on. */
export async function makeSession(/** @type {string} */ url, /** @type {Session} */ { clientId, protocolVersion, filter }) {
  const properties = protocolVersion === 5 ? { sessionExpiryInterval: DAY_S } : undefined;
  const client = await connectAsync(url, { clientId, clean: false, protocolVersion, properties, reconnectPeriod: 0 });
  const [grant] = await client.subscribeAsync(filter, { qos: 1 });
  await client.endAsync();
  if (grant?.qos !== 1) throw new Error(`the broker refused ${filter}`);
}

export async function dropSession(/** @type {string} */ url, /** @type {Session} */ { clientId, protocolVersion }) {
  const client = await connectAsync(url, { clientId, clean: true, protocolVersion, reconnectPeriod: 0 });
  await client.endAsync();
}

/** Publishes on one connection at QoS 1. */
export class Publisher {
  constructor(client) {
    this.client = client;
    this.inFlight = 0;
    this.failure = undefined;
    this.wake = undefined;
    client.on('error', (error) => (this.failure ??= error));
    client.on('close', () => (this.failure ??= new Error('the broker closed the connection of the publisher')));
  }

  static async connect(/** @type {string} */ url) {
    return new Publisher(await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 }));
  }

  publish({ topic, payload }) {
    this.inFlight += 1;
    this.client.publish(topic, payload, { qos: 1 }, (error) => {
      this.inFlight -= 1;
      if (error) this.failure ??= error;
      this.wake?.();
    });
  }

  /** Resolves when fewer than `limit` publishes wait for their acknowledgement. */
  async untilBelow(limit) {
    while (this.inFlight >= limit) {
      let timer;
      const answered = await Promise.race([
        new Promise((resolve) => (this.wake = () => resolve(true))),
        new Promise((resolve) => (timer = setTimeout(() => resolve(false), QUIET_LIMIT_MS))),
      ]);
      clearTimeout(timer);
      if (this.failure) throw this.failure;
      if (!answered) throw new Error(`the broker has acknowledged nothing for ${QUIET_LIMIT_MS / 1000} s`);
    }
    if (this.failure) throw this.failure;
  }

  async close() {
    this.client.removeAllListeners('close');
    await this.client.endAsync(this.inFlight > 0);
  }
}

/** Publishes messages 0 to `count` - 1 as fast as the broker acknowledges them. */
export async function publishBacklog(/** @type {string} */ url, /** @type {number} */ count, messageAt) {
  const publisher = await Publisher.connect(url);
  try {
    for (let index = 0; index < count; index++) {
      if (publisher.inFlight >= MOST_IN_FLIGHT) await publisher.untilBelow(MOST_IN_FLIGHT / 2);
      publisher.publish(messageAt(index));
    }
    await publisher.untilBelow(1);
  } finally {
    await publisher.close();
  }
}
