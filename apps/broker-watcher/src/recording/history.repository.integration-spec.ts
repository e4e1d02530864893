import { createDataSource, DatabaseConnection } from '@tallystick/persistence';
import { createTestDatabase } from '@tallystick/testing';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import { commitFailure } from './commit-error.js';
import type { HistoryPlan } from './history-plan.js';
import { HistoryRepository } from './history.repository.js';

const DAY_MS = 24 * 3600 * 1000;
const TODAY_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS;

/** A transaction with nothing but a gap in it. */
function gapPlan(atMs: number): HistoryPlan {
  return {
    events: [],
    changes: { sessions: new Set(), clients: new Map(), subscriptions: new Map() },
    newSessions: new Set(),
    gaps: [{ fromMs: atMs, toMs: atMs, reason: 'watcher_down' }],
    brokerStartedAtMs: undefined,
    firstEventId: undefined,
  };
}

describe('HistoryRepository', () => {
  let connection: DatabaseConnection;
  const sql = (text: string, values?: unknown[]): Promise<Record<string, unknown>[]> => connection.dataSource.query(text, values);
  const repositoryOf = (brokerName: string) =>
    new HistoryRepository(
      connection,
      Object.assign(new BrokerWatcherConfig(), { brokerName, mqtt: { clientId: `watcher-${brokerName}` } }),
    );

  beforeAll(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url), { allowDataLoss: true });
    await connection.connect();
  });
  afterAll(() => connection.close());

  it('makes the days of lines between which a clock was set right by years', async () => {
    const days = [0, 1, 500, 9_000].map((ago) => TODAY_MS - ago * DAY_MS);
    await repositoryOf('years').ensureDays([...days, days[0]! + 1, ...days]);
    const made = await sql(`SELECT relname AS name FROM pg_class WHERE relname ~ '^events_[0-9]+$' ORDER BY name DESC`);
    expect(made.map(({ name }) => name)).toEqual(days.map((ms) => `events_${new Date(ms).toISOString().slice(0, 10).replaceAll('-', '')}`));
    await repositoryOf('years').ensureDays([]);
  });

  it('waits for no lock for ever, and leaves nothing in the server that does', async () => {
    const watcher = repositoryOf('stuck');
    await watcher.beginEpoch();
    const stuck = connection.dataSource.createQueryRunner();
    await stuck.startTransaction();
    await stuck.query(`SELECT pg_advisory_xact_lock_shared(hashtextextended('tallystick.receiver.watcher-stuck', 0))`);
    await stuck.query(`LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE`); // as VACUUM takes it
    await stuck.query(`LOCK TABLE observation_gaps IN SHARE MODE`);
    const tomorrowMs = TODAY_MS + 9 * DAY_MS;
    const failures = await Promise.all(
      [watcher.commit(gapPlan(1)), watcher.ensurePartitions(tomorrowMs, tomorrowMs), repositoryOf('stuck').beginEpoch()].map((asked) =>
        asked.catch(commitFailure),
      ),
    );
    expect(failures).toEqual(['passing', 'passing', 'passing']);
    expect(await sql(`SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)).toEqual([]);
    await stuck.rollbackTransaction();
    await stuck.release();
    await watcher.commit(gapPlan(2));
    expect(await watcher.ensurePartitions(tomorrowMs, tomorrowMs)).toHaveLength(2);
    expect(await sql(`SELECT (extract(epoch FROM from_ts) * 1000)::int AS ms FROM observation_gaps`)).toEqual([{ ms: 2 }]);
  });

  it('has the server look soon whether we are still there', async () => {
    await sql(`CREATE TABLE seen (setting text)`);
    await sql(`CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO seen SELECT current_setting('tcp_keepalives_' || name) FROM unnest(ARRAY['idle', 'interval', 'count']) AS name; RETURN NEW; END $$`);
    await sql(`CREATE TRIGGER look BEFORE INSERT ON observation_gaps FOR EACH ROW EXECUTE FUNCTION look()`);
    const watcher = repositoryOf('seen');
    await watcher.beginEpoch();
    await watcher.commit(gapPlan(3));
    await sql(`DROP FUNCTION look() CASCADE`);
    expect(await sql(`SELECT setting FROM seen`)).toEqual(['5', '5', '2'].map((setting) => ({ setting })));
  });
});
