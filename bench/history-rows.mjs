// A broker's history as it could have come about, made by SQL: steady days, clients that flap, and one reconnect storm.
export const BROKER = 'bench';
export const DAYS = 90;
/** They make a third of the sessions of steady days, in bursts of ten with 86 s from one to the next (at 1.5 million sessions). */
const FLAPPING_CLIENTS = 100;
/** In the middle of the history every client connects again and again: a tenth of all sessions. */
const STORM_MINUTES = 10;
const LINES_OF_SESSION = 5;
const DAY_MS = 86_400_000;

/**
 * Fills a migrated database with 90 days up to the last full hour: `events`, five of each of the `sessions` and the rest about no client,
 * `clients`, `subscriptions` over about half as many filters, and a gap every 41 hours. Gives when it begins, ends, and the storm is.
 */
export async function makeHistory(sql, { events, sessions, clients, subscriptions }, progress) {
  const to = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000);
  const from = new Date(to.getTime() - DAYS * DAY_MS);
  const stormAt = new Date(from.getTime() + (DAYS / 2) * DAY_MS);
  await sql.query('SELECT ensure_history_partitions($1, $2)', [from, to]);
  await sql.query(
    `INSERT INTO broker_state (broker, version, watched_until) VALUES ($1, 'mosquitto version 2.0.22', now() + interval '1 day')`,
    [BROKER],
  );
  await sql.query(
    `INSERT INTO clients (broker, client, first_seen, last_seen) SELECT $1, 'client-' || n, $2, $3 FROM generate_series(0, $4 - 1) n`,
    [BROKER, from, to, clients],
  );
  await sql.query('ANALYZE clients');
  progress(`${sessions} sessions`);
  await makeSessions(sql, { from, to, stormAt, sessions, clients });
  const others = Math.max(0, Math.floor((events - LINES_OF_SESSION * sessions) / DAYS));
  for (let day = 0; day < DAYS; day++) {
    if (day % 10 === 0) progress(`events, day ${day} of ${DAYS}`);
    await makeEvents(sql, new Date(from.getTime() + day * DAY_MS), to, others);
  }
  progress(`${subscriptions} subscriptions`);
  await makeSubscriptions(sql, { from, clients, subscriptions });
  await sql.query(
    `INSERT INTO observation_gaps (broker, from_ts, to_ts, reason)
     SELECT $1, t, t + interval '3 minutes', 'watcher_down' FROM generate_series($2::timestamptz, $3, interval '41 hours') t`,
    [BROKER, from, to],
  );
  progress('VACUUM ANALYZE');
  await sql.query('VACUUM (ANALYZE) events, sessions, clients, subscriptions, event_counts, session_end_counts');
  return { from, to, stormAt };
}

/** A client's sessions follow one another, most for minutes, some for hours. In order of their beginning, as they come. */
async function makeSessions(sql, { from, to, stormAt, sessions, clients }) {
  const ofFlapping = Math.floor((sessions * 0.3) / FLAPPING_CLIENTS);
  const ofOther = Math.floor((sessions * 0.6) / (clients - FLAPPING_CLIENTS));
  const inStorm = Math.floor(sessions * 0.1);
  await sql.query('SELECT setseed(0.5)');
  await sql.query(
    `INSERT INTO sessions (broker, client_id, client, start_ts, end_ts, address, port, protocol_version, clean_start, keepalive, end_reason,
                           ended_by, end_uncertain)
     SELECT $1, c.id, c.client, start_ts, end_ts, '192.0.2.' || chance, 1024 + chance * 251, 5, true, 60,
       CASE WHEN end_ts IS NOT NULL THEN CASE WHEN chance < 120 THEN 'network' WHEN chance < 200 THEN 'clean_disconnect'
         WHEN chance < 230 THEN 'keepalive_timeout' WHEN chance < 255 THEN 'taken_over' ELSE 'unknown' END END,
       CASE WHEN end_ts IS NOT NULL THEN CASE WHEN chance < 120 THEN 'network' WHEN chance < 200 THEN 'client'
         WHEN chance < 255 THEN 'broker' ELSE 'unknown' END END,
       chance = 255
     FROM (
       SELECT n, start_ts, start_ts + ceil(0.6 * power(random(), 4) * most_s) * interval '1 s' AS end_ts, floor(random() * 256)::int AS chance
       FROM (
         SELECT n, most_s, date_trunc('second', $2::timestamptz + (place + random() * 0.3 * most_s) * interval '1 s') AS start_ts
         FROM generate_series(0, $4 - 1) n,
           LATERAL (SELECT n < ${FLAPPING_CLIENTS} AS flaps, CASE WHEN n < ${FLAPPING_CLIENTS} THEN $5 ELSE $6 END::int AS many) k,
           LATERAL (SELECT ${DAYS * 86_400}.0 / many AS step_s) s,
           LATERAL (SELECT CASE WHEN flaps THEN 0.05 * step_s ELSE step_s END AS most_s) m,
           generate_series(0, many - 1) i,
           LATERAL (SELECT CASE WHEN flaps THEN (i - i % 10) * step_s + i % 10 * most_s ELSE i * step_s END AS place) p
         UNION ALL
         SELECT n % $4, 3, date_trunc('second', $8::timestamptz + random() * interval '${STORM_MINUTES} minutes') FROM generate_series(1, $7) n
       ) starts
       UNION ALL
       SELECT n, $3::timestamptz - n % 7200 * interval '1 s', NULL, 0 FROM generate_series(0, $4 * 9 / 10) n
     ) s JOIN clients c ON c.broker = $1 AND c.client = 'client-' || n
     ORDER BY start_ts`,
    [BROKER, from, to, clients, ofFlapping, ofOther, inStorm, stormAt],
  );
}

/** Of each session that began on a day two lines about its connection, two subscriptions and its end; and lines about nobody in between. */
async function makeEvents(sql, dayStart, to, others) {
  await sql.query(
    `INSERT INTO events (broker, ts, action, client, topic, qos, raw, received_at, packet_id)
     SELECT $1, ts, action, client, topic, qos, extract(epoch FROM ts)::bigint || ': line of ' || coalesce(client, 'the broker') || ' about what it does',
       ts + interval '20 ms', 1
     FROM (
       SELECT s.client, CASE a.action WHEN 'disconnected' THEN s.end_ts ELSE s.start_ts END AS ts, a.*
       FROM sessions s CROSS JOIN (VALUES ('conn_info', NULL, NULL), ('connected', NULL, NULL), ('subscribe', 'plant/+/commands', 1),
         ('subscribe', 'plant/#', 0), ('disconnected', NULL, NULL)) AS a (action, topic, qos)
       WHERE s.broker = $1 AND s.start_ts >= $2 AND s.start_ts < $2::timestamptz + interval '24 hours'
       UNION ALL
       SELECT NULL, $2::timestamptz + n * interval '24 hours' / $4::int, 'unknown', NULL, NULL FROM generate_series(0, $4::int - 1) n
     ) e
     WHERE ts < $3
     ORDER BY ts`,
    [BROKER, dayStart, to, others],
  );
}

/** A few filters that many share, many that few do; one in twenty is over, one in fifty in doubt. */
async function makeSubscriptions(sql, { from, clients, subscriptions }) {
  await sql.query(
    `INSERT INTO subscriptions (broker, client, topic, qos, active, uncertain, created_at, updated_at)
     SELECT $1, 'client-' || n % $2, 'plant/' || floor($3 / 10 * power(n * 7919 % 100003 / 100003.0, 3)) || '/values/' || n / $2, 1,
       n % 20 <> 0, n % 50 = 1, $4, $4
     FROM generate_series(0, $3 - 1) n`,
    [BROKER, clients, subscriptions, from],
  );
}
