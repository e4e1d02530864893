// The broker watcher under log lines that real clients cause.
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../dist/libs/embedded/src/index.js';
import { dropSession, makeSession } from './broker-sessions.mjs';
import { ConsumerProcess } from './consumer-process.mjs';
import { memoryOf } from './cpu-and-memory.mjs';
import { freshDatabase } from './servers.mjs';
import { LINES_PER_VISIT, makeVisits, NAMED_LINES_PER_VISIT } from './visits.mjs';

const WATCHER = 'dist/apps/broker-watcher/src/main.js';
const SESSION = { clientId: 'tallystick-watcher', protocolVersion: 5, filter: '$SYS/broker/log/#' };
/** The broker throws a line away after 20 s; the watcher needs some of them to start and to catch up. */
const BACKLOG_LIMIT_S = 8;
const READY_LIMIT_MS = 30_000;
const STORED_LIMIT_MS = 60_000;
const POLL_MS = 200;
/** Not reported: the process compiles its code. */
const WARM_UP = { linesPerS: 500, seconds: 3 };

/** Lines that wait at the broker, stored as fast as the watcher can: lines/s from the first receipt to the last commit. */
export async function backlogRun(servers, lines) {
  const visits = Math.ceil(lines / LINES_PER_VISIT);
  return withWatcher(servers, async ({ start, sql }) => {
    await makeSession(servers.broker.url, SESSION);
    const seconds = await makeVisits({ port: servers.broker.port, prefix: 'backlog', count: visits });
    if (seconds > BACKLOG_LIMIT_S) throw new Error(`the lines took ${seconds.toFixed(1)} s to make, the broker keeps them for 20: --lines`);
    const watcher = start();
    await untilStored(sql, 'backlog', visits, watcher);
    // Lines without a client's name are among them: all that is there counts.
    const { rows } = await sql.query(
      `SELECT count(*)::int AS lines, extract(epoch FROM max(pg_xact_commit_timestamp(xmin)) - min(received_at))::float8 AS seconds FROM events`,
    );
    return { linesPerS: rows[0].lines / rows[0].seconds, peakRssBytes: memoryOf(watcher.pid)?.peak };
  });
}

/** A row for each rate: ms from receipt to commit, $SYS values stored a second, memory. */
export async function steadyRuns(servers, rates, seconds) {
  return withWatcher(servers, async ({ start, sql, url }) => {
    const watcher = start();
    await untilReady(url, watcher);
    await phase(servers, sql, watcher, 'warm-up', WARM_UP);
    const rows = [];
    for (const linesPerS of rates) rows.push(await phase(servers, sql, watcher, `steady-${linesPerS}`, { linesPerS, seconds }));
    return rows;
  });
}

async function phase({ broker }, sql, watcher, prefix, { linesPerS, seconds }) {
  const from = new Date();
  const perS = linesPerS / LINES_PER_VISIT;
  const count = Math.round(perS * seconds);
  const took = await makeVisits({ port: broker.port, prefix, count, perS });
  const to = new Date();
  const memory = memoryOf(watcher.pid);
  await untilStored(sql, prefix, count, watcher);
  const { rows } = await sql.query(
    `WITH latency AS (
       SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - received_at)::float8 * 1000 AS ms FROM events
       WHERE client LIKE $1 || '-%'
     )
     SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) AS "p50Ms", percentile_disc(0.99) WITHIN GROUP (ORDER BY ms) AS "p99Ms",
            max(ms) AS "maxMs" FROM latency`,
    [prefix],
  );
  const values = await sql.query('SELECT count(*)::int AS n FROM broker_metrics WHERE ts BETWEEN $1 AND $2', [from, to]);
  const reached = (count * LINES_PER_VISIT) / took;
  const [rssBytes, peakRssBytes] = [memory?.now, memory?.peak];
  return { linesPerS, reached, ...rows[0], valuesPerS: values.rows[0].n / ((to - from) / 1000), rssBytes, peakRssBytes };
}

/** Waits until every line that names a client of the prefix is an event, once, and every session of it is closed; throws otherwise. */
async function untilStored(sql, prefix, visits, watcher) {
  const expected = { lines: visits * NAMED_LINES_PER_VISIT, sessions: visits };
  for (const giveUpAtMs = Date.now() + STORED_LIMIT_MS; ; await sleep(POLL_MS)) {
    watcher.assertRunning();
    const { rows } = await sql.query(
      `SELECT (SELECT count(*)::int FROM events WHERE client LIKE $1 || '-%') AS lines,
              (SELECT count(*)::int FROM sessions WHERE client LIKE $1 || '-%' AND end_ts IS NOT NULL) AS sessions`,
      [prefix],
    );
    const [stored] = rows;
    if (stored.lines === expected.lines && stored.sessions === expected.sessions) return;
    const tooMany = stored.lines > expected.lines || stored.sessions > expected.sessions;
    if (tooMany || Date.now() > giveUpAtMs) {
      throw new Error(`${stored.lines} of ${expected.lines} lines and ${stored.sessions} of ${expected.sessions} sessions are stored`);
    }
  }
}

/** Resolves once the app that listens there says that it is ready. */
export async function untilReady(url, app) {
  for (const giveUpAtMs = Date.now() + READY_LIMIT_MS; ; await sleep(POLL_MS)) {
    app.assertRunning();
    if (
      await fetch(`${url}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return;
    if (Date.now() > giveUpAtMs) throw new Error(`${app.script} is not ready after ${READY_LIMIT_MS / 1000} s`);
  }
}

/** A database, and a function that starts the watcher with it; both are gone afterwards, and so is its session at the broker. */
async function withWatcher(servers, use) {
  const database = await freshDatabase(servers, 'off');
  const port = String(await freePort());
  const env = {
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: port,
    LOG_LEVEL: 'warn',
    MQTT_URL: servers.broker.url,
    DATABASE_URL: database.url,
  };
  let watcher;
  const start = () => (watcher = new ConsumerProcess(WATCHER, env));
  try {
    return await use({ start, sql: database.sql, url: `http://127.0.0.1:${port}` });
  } finally {
    await watcher?.stop();
    await dropSession(servers.broker.url, SESSION);
    await database.drop();
  }
}
