// Clients that come, subscribe and go: what makes a broker write log lines.
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { performance } from 'node:perf_hooks';
import { generate } from 'mqtt-packet';

/** New connection, New client, two subscriptions, disconnected. */
export const LINES_PER_VISIT = 5;
/** All but the first line name the client. */
export const NAMED_LINES_PER_VISIT = 4;
const MOST_AT_ONCE = 200;
const TICK_MS = 5;
const VISIT_LIMIT_MS = 30_000;

const [SUBSCRIBE, DISCONNECT] = [
  { cmd: 'subscribe', messageId: 1, subscriptions: ['visits/a', 'visits/b'].map((topic) => ({ topic, qos: 1 })) },
  { cmd: 'disconnect' },
].map((packet) => generate(packet));

/** One visit in one write: the broker takes the packets one after the other and closes. */
function visit(port, clientId) {
  const hello = generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId, keepalive: 60 });
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(VISIT_LIMIT_MS, () => socket.destroy(new Error(`the broker did not close the connection of ${clientId}`)));
    socket.once('connect', () => socket.write(Buffer.concat([hello, SUBSCRIBE, DISCONNECT])));
    socket.once('error', reject);
    socket.once('close', resolve);
    socket.resume();
  });
}

/** Makes `count` visits of clients `<prefix>-0`, …; at `perS` visits a second, or as fast as it goes. Resolves with the seconds it took. */
export async function makeVisits({ port, prefix, count, perS = Infinity }) {
  const startedAt = performance.now();
  const seconds = () => (performance.now() - startedAt) / 1000;
  let [sent, open, failure] = [0, 0, undefined];
  while (sent < count || open > 0) {
    const due = Math.min(count, Math.ceil(seconds() * perS));
    for (; sent < due && open < MOST_AT_ONCE; sent++) {
      open += 1;
      visit(port, `${prefix}-${sent}`)
        .catch((error) => (failure ??= error))
        .finally(() => (open -= 1));
    }
    if (failure) throw failure;
    await sleep(perS === Infinity ? 1 : TICK_MS);
  }
  return seconds();
}
