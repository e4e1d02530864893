// Who is measured, and how each is started.
import { freePort } from '../dist/libs/embedded/src/index.js';
import { TOPIC_FILTER } from './payloads.mjs';

const BRIDGE = 'dist/apps/ingest-bridge/src/main.js';
const SHARED_GROUP = 'bench';

/**
 * @typedef {object} Contestant
 * @property {string} id
 * @property {'product' | 'tenants' | 'replicas' | 'copy' | 'peers'} group what --only selects, besides the id
 * @property {string} label
 * @property {'live' | 'off'} jsonIndex
 * @property {number} tenants
 * @property {number} processes 0: it is not fed by the broker
 * @property {(servers: { mqttUrl: string, databaseUrl: string, clientId: string }) => Promise<{ script: string, env: Record<string, string> }>} [start]
 * @property {4 | 5} [protocolVersion] of its session
 * @property {string} [filter]
 * @property {string[]} [schemaChanges] statements that make its empty database another than the product's
 */

/** @type {Contestant[]} */
export const CONTESTANTS = ['live', 'off'].flatMap((jsonIndex) => [
  { id: `copy-${jsonIndex}`, group: 'copy', label: 'COPY alone, one connection', jsonIndex, tenants: 1, processes: 0 },
  product({ id: `product-${jsonIndex}`, label: 'Tallystick, 1 lane', jsonIndex }),
  product({ id: `product-${jsonIndex}-2-lanes`, label: 'Tallystick, 2 lanes', jsonIndex, lanes: 2 }),
  product({ id: `tenants-${jsonIndex}`, group: 'tenants', label: 'Tallystick, 1 lane, 500 tenants', jsonIndex, tenants: 500 }),
  product({ id: `replicas-${jsonIndex}`, group: 'replicas', label: 'Tallystick, 2 replicas', jsonIndex, processes: 2 }),
  peer('awaited-insert', 'mqtt + pg, awaited insert (lossless)', jsonIndex),
  peer('insert-per-message', 'mqtt + pg, insert per message (lossy)', jsonIndex),
  peer('nest-typeorm-save', 'Nest + TypeORM save (lossy)', jsonIndex),
]);

/** The contestants that a comma-separated list of ids and groups names; all without one; none for `none`. */
export function selected(/** @type {string | undefined} */ only) {
  if (only === undefined) return CONTESTANTS;
  const names = only.split(',').filter((name) => name !== 'none');
  const known = new Set(CONTESTANTS.flatMap(({ id, group }) => [id, group, id.replace(/-(live|off)$/, '')]));
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length > 0) throw new Error(`--only knows no ${unknown.join(', ')}; it knows none, ${[...known].sort().join(', ')}`);
  return CONTESTANTS.filter(({ id, group }) => names.some((name) => [id, group, id.replace(/-(live|off)$/, '')].includes(name)));
}

/** The sessions of a contestant, one a process. */
export function sessionsOf(/** @type {Contestant} */ { id, processes, protocolVersion, filter }) {
  return Array.from({ length: processes }, (_, index) => ({ clientId: `${id}-${index + 1}`, protocolVersion, filter }));
}

function product({ group = 'product', lanes = 1, tenants = 1, processes = 1, ...given }) {
  const start = async ({ mqttUrl, databaseUrl, clientId }) => ({
    script: BRIDGE,
    env: {
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: String(await freePort()),
      LOG_LEVEL: 'warn',
      MQTT_URL: mqttUrl,
      MQTT_CLIENT_ID: clientId,
      DATABASE_URL: databaseUrl,
      MESSAGES_JSON_INDEX: given.jsonIndex,
      WRITER_LANES: String(lanes),
      ...(processes > 1 && { MQTT_SHARED_GROUP: SHARED_GROUP }),
    },
  });
  const filter = processes > 1 ? `$share/${SHARED_GROUP}/${TOPIC_FILTER}` : TOPIC_FILTER;
  return { ...given, group, tenants, processes, start, protocolVersion: 5, filter };
}

function peer(name, label, jsonIndex) {
  const start = ({ mqttUrl, databaseUrl, clientId }) =>
    Promise.resolve({
      script: `bench/peers/${name}.mjs`,
      env: { NODE_ENV: 'production', MQTT_URL: mqttUrl, MQTT_CLIENT_ID: clientId, MQTT_TOPICS: TOPIC_FILTER, DATABASE_URL: databaseUrl },
    });
  const session = { protocolVersion: 4, filter: TOPIC_FILTER };
  return { id: `${name}-${jsonIndex}`, group: 'peers', label, jsonIndex, tenants: 1, processes: 1, start, ...session };
}
