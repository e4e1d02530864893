// What the receivers share: when the first message came, when the last one was done with, and what it cost this process.
import { performance } from 'node:perf_hooks';

/** From the environment. */
export const settings = {
  mqttUrl: process.env.MQTT_URL,
  clientId: process.env.MQTT_CLIENT_ID,
  topicFilter: process.env.MQTT_TOPICS,
  messages: Number(process.env.MESSAGES),
};

/** MQTT 5 Receive Maximum of all receivers: the default of the bridge. */
export const RECEIVE_MAXIMUM = 4_000;
export const SESSION_EXPIRY_S = 24 * 3600;

let done = 0;
let startedAt;
let cpuBefore;

/** Starts the clock at the first message that the client reads, whoever handles it later. */
export function startAtFirstMessage(client) {
  const onPacket = (packet) => {
    if (packet.cmd !== 'publish') return;
    client.off('packetreceive', onPacket);
    startedAt = performance.now();
    cpuBefore = process.cpuUsage();
  };
  client.on('packetreceive', onPacket);
}

/** That many messages were acknowledged. */
export function noteDone(/** @type {number} */ messages) {
  done += messages;
  if (done < settings.messages) return;
  const { user, system } = process.cpuUsage(cpuBefore);
  process.send({ seconds: (performance.now() - startedAt) / 1000, cpuSeconds: (user + system) / 1e6, done });
}
