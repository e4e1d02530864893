// What is asked of the API: every list and lookup, each with as many different values as there are good examples.
import { BROKER } from './history-rows.mjs';

/** The default pool of the API. */
const POOL_SIZE = 10;
/** Different values of one question, so that an answer is not always about the same pages. */
const EXAMPLES = 100;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MINUTE_MS = 60_000;

/**
 * @typedef {object} Question
 * @property {string} id
 * @property {'list' | 'lookup' | 'computed'} kind `computed`: what reads or hashes many rows for one answer
 * @property {'tenant' | 'platform'} key whose
 * @property {string} ask in words
 * @property {'GET' | 'POST'} method
 * @property {string[]} paths below /api/v1, asked in turn
 * @property {number} [mostAtOnce] of what takes so long that more would wait for a connection to the database until they are refused
 */

/**
 * The questions about what makeRows (api-rows.mjs) has made. `ask` gives the answer to a path with the tenant's key.
 * @returns {Promise<Question[]>}
 */
export async function questions(sql, { tenantId, from, to }, ask) {
  const some = await examples(sql, tenantId);
  const range = (spanMs, endMs = to.getTime()) => `from=${new Date(endMs - spanMs).toISOString()}&to=${new Date(endMs).toISOString()}`;
  const each = (values, path) => values.map((value) => path(encodeURIComponent(value)));
  const hours = Array.from(
    { length: EXAMPLES },
    (_, at) => from.getTime() + HOUR_MS + (at * (to.getTime() - from.getTime() - HOUR_MS)) / EXAMPLES,
  );
  const broker = `brokers/${BROKER}`;
  const json = (orders) => each(orders, (order) => `messages?data=${encodeURIComponent(`{"metadata":{"order":"${order}"}}`)}`);
  const ofTenant = [
    ['list', 'messages', 'messages, newest', ['messages']],
    ['list', 'messages-further', 'messages, a further page', [`messages?cursor=${(await ask('messages')).nextCursor}`]],
    ['list', 'messages-hour', 'messages of an hour', hours.map((endMs) => `messages?${range(HOUR_MS, endMs)}`)],
    ['list', 'messages-device', 'messages of a device', each(some.devices, (id) => `messages?deviceId=${id}`)],
    ['list', 'messages-site', 'messages of a site', each(some.sites, (id) => `messages?siteId=${id}`)],
    ['list', 'messages-batch', 'messages by batch', each(some.batches, (id) => `messages?batchId=${id}`)],
    ['lookup', 'messages-hash', 'message by hash', each(some.hashes, (id) => `messages?hash=${id}`)],
    ['list', 'batches', 'batches', ['batches']],
    ['list', 'batches-pending', 'pending batches', ['batches?status=pending']],
    ['list', 'batch-messages', 'messages of a batch, in leaf order', each(some.batches, (id) => `batches/${id}/messages`)],
    ['lookup', 'message', 'message', each(some.messages, (id) => `messages/${id}`)],
    ['lookup', 'payload', 'payload of a message', each(some.messages, (id) => `messages/${id}/payload`)],
    ['lookup', 'batch', 'batch, its 1,000 messages counted', each(some.batches, (id) => `batches/${id}`)],
    ['list', 'devices', 'devices', ['devices']],
    ['lookup', 'device', 'device with statistics of 7 days', each(some.devices, (id) => `devices/${id}`)],
    ['list', 'rejections', 'rejections', ['rejections']],
  ];
  const ofPlatform = [
    ['list', 'all-messages', 'messages of all tenants', ['messages']],
    ['list', 'all-messages-json', 'messages of all tenants by JSON', json(some.orders)],
    ['list', 'all-messages-500', 'messages of all tenants, page of 500', ['messages?limit=500']],
    ['list', 'all-rejections', 'rejections of all tenants', ['rejections']],
    ['list', 'brokers', 'brokers', ['brokers']],
    ['list', 'clients', 'clients', [`${broker}/clients`]],
    ['list', 'clients-connected', 'clients, connected', [`${broker}/clients?connected=true`]],
    ['lookup', 'client', 'client', each(some.clients, (id) => `${broker}/clients/${id}`)],
    ['list', 'sessions', 'sessions', [`${broker}/sessions`]],
    ['list', 'sessions-client', 'sessions of a client', each(some.clients, (id) => `${broker}/sessions?client=${id}`)],
    ['list', 'subscriptions', 'subscriptions', [`${broker}/subscriptions`]],
    ['list', 'subscriptions-client', 'subscriptions of a client', each(some.clients, (id) => `${broker}/subscriptions?client=${id}`)],
    ['list', 'events', 'events', [`${broker}/events`]],
    ['list', 'events-client', 'events of a client', each(some.clients, (id) => `${broker}/events?client=${id}`)],
    ['list', 'metrics', 'metrics, the latest values', [`${broker}/metrics`]],
    ['list', 'gaps', 'gaps', [`${broker}/gaps`]],
    ['computed', 'diagnostics', 'diagnostics, 9,000 open sessions counted', [`${broker}/diagnostics`]],
    ['computed', 'receives', 'who receives a topic', each(some.topics, (topic) => `${broker}/subscriptions/match?topic=${topic}`)],
    ['computed', 'popularity', 'most popular topic filters', [`${broker}/subscriptions/popularity`]],
    ['computed', 'counts', 'events by hour, 1 day', [`${broker}/events/counts?bucket=hour&${range(DAY_MS)}`]],
    [
      'computed',
      'counts-minutes',
      'events by minute, 1,990 minutes',
      [`${broker}/events/counts?bucket=minute&${range(1_990 * MINUTE_MS)}`],
    ],
    ['computed', 'stats', 'clients with most sessions, 1 day', [`${broker}/sessions/stats?${range(DAY_MS)}`]],
    ['computed', 'series', 'series of a metric, 1 day', [`${broker}/metrics/clients%2Fconnected/series`]],
    ['computed', 'series-2000', 'series of a metric, 2,000 points', [`${broker}/metrics/clients%2Fconnected/series?step=44`], POOL_SIZE],
  ];
  const verifying = [
    ['computed', 'message-verify', 'message, verified', each(some.messages, (id) => `messages/${id}/verify`)],
    ['computed', 'batch-verify', 'batch of 1,000 messages, verified', each(some.batches, (id) => `batches/${id}/verify`), POOL_SIZE],
  ];
  const asked = (key, method) => (question) => ({
    kind: question[0],
    id: question[1],
    ask: question[2],
    paths: question[3],
    mostAtOnce: question[4],
    key,
    method,
  });
  return [...ofTenant.map(asked('tenant', 'GET')), ...ofPlatform.map(asked('platform', 'GET')), ...verifying.map(asked('tenant', 'POST'))];
}

async function examples(sql, tenantId) {
  const column = async (text, values = []) => (await sql.query({ text, values, rowMode: 'array' })).rows.map(([value]) => value);
  const batches = await column(
    `SELECT batch_id FROM batches WHERE tenant_id = $1 AND status = 'complete' ORDER BY created_at LIMIT ${EXAMPLES}`,
    [tenantId],
  );
  const ofMessages = (what) => column(`SELECT ${what} FROM messages WHERE batch_id = ANY ($1) AND leaf_index = 500`, [batches]);
  return {
    batches,
    messages: await ofMessages('message_id'),
    hashes: await ofMessages('message_hash'),
    orders: await ofMessages(`raw_data -> 'metadata' ->> 'order'`),
    devices: await column(`SELECT device_id FROM devices WHERE tenant_id = $1 LIMIT ${EXAMPLES}`, [tenantId]),
    sites: await column(`SELECT DISTINCT site_id FROM devices WHERE tenant_id = $1`, [tenantId]),
    clients: await column(`SELECT client FROM clients WHERE id % 97 = 0 LIMIT ${EXAMPLES}`),
    topics: await column(`SELECT topic FROM subscriptions WHERE active AND id % 97 = 0 LIMIT ${EXAMPLES}`),
  };
}
