import { setTimeout as sleep } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';

/** How long a broker may take to close the connection after our DISCONNECT. */
const GOODBYE_LIMIT_MS = 1_500;

/** Sends DISCONNECT behind everything else and ends the connection, whether or not the broker closes its side. */
export async function sayGoodbye(client: MqttClient): Promise<void> {
  // mqtt.js waits for the broker to answer what is under way and to close its side; one that hangs does neither.
  const given = new AbortController();
  await Promise.race([client.endAsync(), sleep(GOODBYE_LIMIT_MS, undefined, { signal: given.signal }).catch(() => undefined)]);
  given.abort();
  client.stream.destroy();
}
