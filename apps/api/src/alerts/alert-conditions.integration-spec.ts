import { addressForApp, createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import type { Reader } from '../database/database.js';
import { ALERT_CONDITIONS } from './alert-conditions.js';
import { AlertSettings } from './alert.settings.js';
import { recordVerification } from './failed-batches.queries.js';

const SETTINGS = new AlertSettings();
const { batch_failed, broker_dropping, ingest_stalled, quarantine_growing } = ALERT_CONDITIONS;

/** Each condition is caused with the owner's login and looked for with the rights of the API, as the API does. */
describe('what alerts are raised for', () => {
  let owner: pg.Client;
  let api: pg.Client;
  let read: Reader;

  beforeAll(async () => {
    const { url } = await createTestDatabase();
    owner = new pg.Client({ connectionString: url });
    api = new pg.Client({ connectionString: addressForApp(url, 'api') });
    for (const client of [owner, api]) {
      client.on('error', () => undefined);
      await client.connect();
    }
    await api.query(`SET ROLE tallystick_api; SET app.platform = 'on'`);
    await owner.query(
      `SELECT ensure_partitions(now() - interval '2 days', now()), ensure_history_partitions(now() - interval '2 days', now())`,
    );
    read = Object.assign(
      async <Row>(text: string, values: readonly unknown[] = []) => (await api.query<Row & object>({ text, values: [...values] })).rows,
      { tenantId: null },
    );
  });
  afterAll(async () => {
    await owner.end();
    await api.end();
  });
  beforeEach(() =>
    owner.query(
      `TRUNCATE alerts, differing_batches, messages, batches, devices, rejected_messages, broker_state, broker_metrics, broker_metrics_1h`,
    ),
  );

  const batch = async (status: string, minutesAgo = 0, receiver = 'bridge-1'): Promise<string> => {
    const { rows } = await owner.query<{ id: string }>(
      `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root, receiver)
       SELECT gen_random_uuid(), 'factory1', repeat('0', 64), 1, at, at, $1::varchar, at, '', $3::varchar FROM (SELECT now() - $2 * interval '1 minute' AS at) t
       RETURNING batch_id AS id`,
      [status, minutesAgo, receiver],
    );
    return rows[0]!.id;
  };
  const message = async (secondsAgo: number): Promise<void> => {
    await owner.query(`INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('factory1', 'd', 's') ON CONFLICT DO NOTHING`);
    await owner.query(
      `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, payload, payload_size, nonce,
                             received_at, processed_at, qos, retained)
       SELECT uuidv7_floor(at), $1, 0, 'factory1', 's', 'd', 'x', '', '', 0, '', at, at, 1, false FROM (SELECT now() - $2 * interval '1 second' AS at) t`,
      [await batch('pending', secondsAgo / 60), secondsAgo],
    );
  };
  const rejections = (count: number, secondsAgo = 0, reason = 'not_json') =>
    owner.query(
      `INSERT INTO rejected_messages (rejection_id, received_at, topic, payload, payload_size, payload_hash, reason, receiver, qos)
       SELECT gen_random_uuid(), now() - $2 * interval '1 second', 'x', '', 0, '', $3, 'bridge-1', 1 FROM generate_series(1, $1::int)`,
      [count, secondsAgo, reason],
    );
  const broker = (name: string) => owner.query(`INSERT INTO broker_state (broker) VALUES ($1)`, [name]);
  /** Values of a metric, each with how many seconds ago it came, in order of arrival. */
  const values = async (name: string, metric: string, ...series: [secondsAgo: number, value: number][]) => {
    for (const [secondsAgo, value] of series) {
      await owner.query(`INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ($1, $2, $3, now() - $4 * interval '1 second')`, [
        name,
        metric,
        value,
        secondsAgo,
      ]);
    }
  };

  it('is nothing in an empty database', async () => {
    for (const condition of Object.values(ALERT_CONDITIONS)) expect(await condition.find(read, SETTINGS)).toEqual([]);
  });

  describe('batch_failed', () => {
    it('is one finding, however many batches have failed, and names the newest', async () => {
      for (let minutesAgo = 20; minutesAgo > 0; minutesAgo--) await batch('failed', minutesAgo);
      const newest = await batch('failed');
      await batch('complete');
      const findings = await batch_failed.find(read);
      expect(findings).toMatchObject([
        {
          subject: 'batches',
          opens: true,
          level: 21,
          summary: '21 batches do not agree with the stored messages.',
          path: `/api/v1/batches/${newest}`,
        },
      ]);
      const { details } = findings[0]!;
      expect(details).toMatchObject({ batches: 21, failed: 21, differing: 0 });
      expect(details['newestBatchIds']).toHaveLength(10);
    });

    it('is also a batch that was found to differ, until it is found whole, and counts none twice', async () => {
      const [sealed, failed] = [await batch('complete'), await batch('failed')];
      for (const id of [sealed, sealed, failed]) await recordVerification(read, id, false);
      expect(await batch_failed.find(read)).toMatchObject([{ level: 2, details: { failed: 1, differing: 1 } }]);
      await recordVerification(read, sealed, true);
      await recordVerification(read, failed, true);
      expect(await batch_failed.find(read)).toMatchObject([{ level: 1, summary: '1 batch does not agree with the stored messages.' }]);
      await owner.query(`DELETE FROM batches WHERE batch_id = $1`, [failed]);
      expect(await batch_failed.find(read)).toEqual([]);
    });

    it('says that it has counted far enough', async () => {
      await owner.query(
        `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, open_root, receiver)
         SELECT gen_random_uuid(), 'factory1', repeat('0', 64), 1, now(), now(), 'failed', '', 'bridge-1' FROM generate_series(1, 10001)`,
      );
      expect(await batch_failed.find(read)).toMatchObject([{ summary: 'at least 10000 batches do not agree with the stored messages.' }]);
    });
  });

  describe('broker_dropping', () => {
    const DROPPED = 'publish/messages/dropped';
    const found = async () => (await broker_dropping.find(read)).map(({ subject, details }) => [subject, details['dropped']]);

    it.each<[string, [number, number][], number | undefined]>([
      [
        'a rise',
        [
          [20, 5],
          [10, 17],
        ],
        12,
      ],
      [
        'a rise since a value of long ago',
        [
          [86_000, 5],
          [10, 17],
        ],
        12,
      ],
      [
        'several rises',
        [
          [400, 5],
          [200, 6],
          [100, 9],
          [1, 10],
        ],
        5,
      ],
      [
        'a count that began anew with its broker',
        [
          [100, 1000],
          [50, 3],
        ],
        3,
      ],
      [
        'a count that began anew between two rises',
        [
          [100, 10],
          [80, 15],
          [50, 0],
          [20, 2],
        ],
        7,
      ],
      ['the first value ever', [[10, 17]], undefined],
      [
        'the same value again, as after each start of the watcher',
        [
          [400, 17],
          [10, 17],
        ],
        undefined,
      ],
      [
        'a restart without a loss',
        [
          [100, 17],
          [50, 0],
        ],
        undefined,
      ],
      [
        'a rise six minutes ago',
        [
          [420, 5],
          [360, 17],
        ],
        undefined,
      ],
    ])('counts %s', async (_, series, dropped) => {
      await broker('local');
      await values('local', DROPPED, ...series);
      expect(await found()).toEqual(dropped === undefined ? [] : [['broker/local', dropped]]);
    });

    it('knows a value from before the days for which values are kept', async () => {
      await broker('local');
      await owner.query(
        `INSERT INTO broker_metrics_1h (broker, metric, ts, min, max, avg, first, last, increase, count, first_ts, last_ts)
         SELECT 'local', '${DROPPED}', at, 5, 5, 5, 5, 5, 0, 1, at, at FROM (SELECT date_trunc('hour', now() - interval '30 days') AS at) t`,
      );
      await values('local', DROPPED, [10, 6]);
      expect(await found()).toEqual([['broker/local', 1]]);
    });

    it('tells brokers apart, also odd names', async () => {
      await broker('a b/ü');
      await broker('quiet');
      await broker('other');
      await values('a b/ü', DROPPED, [20, 0], [10, 1]);
      await values('quiet', DROPPED, [20, 7], [10, 7]);
      await values('other', DROPPED, [20, 0], [10, 2]);
      expect(await broker_dropping.find(read)).toMatchObject([
        {
          subject: 'broker/a b/ü',
          path: '/api/v1/brokers/a%20b%2F%C3%BC/diagnostics',
          summary: 'The broker a b/ü dropped 1 message within five minutes.',
        },
        { subject: 'broker/other', details: { broker: 'other', dropped: 2 } },
      ]);
    });
  });

  describe('ingest_stalled', () => {
    const RECEIVED = 'publish/messages/received';
    const found = async (settings = SETTINGS) => (await ingest_stalled.find(read, settings)).map(({ subject }) => subject);
    /** Every 30 s, up to now. */
    const rising = (fromSecondsAgo: number): [number, number][] =>
      Array.from({ length: Math.floor(fromSecondsAgo / 30) + 1 }, (_, at) => [fromSecondsAgo - at * 30, 100 + at]);

    it('is a batch that nobody seals, one finding for all', async () => {
      await batch('pending', 9.9);
      expect(await found()).toEqual([]);
      await batch('pending', 10.1, 'bridge-2');
      await batch('pending', 30, 'bridge-1');
      await batch('complete', 60);
      expect(await ingest_stalled.find(read, SETTINGS)).toMatchObject([
        { subject: 'batches', details: { pending: 2, receivers: ['bridge-1', 'bridge-2'] }, path: '/api/v1/batches?status=pending' },
      ]);
    });

    it('is a broker that goes on receiving while nothing is stored, until something is stored', async () => {
      await broker('local');
      await message(500);
      await values('local', RECEIVED, ...rising(420));
      expect(await found()).toEqual(['broker/local']);
      expect(await found(Object.assign(new AlertSettings(), { stallS: 0 }))).toEqual([]);
      expect(await found(Object.assign(new AlertSettings(), { stallS: 430 }))).toEqual([]);
      await message(1);
      expect(await found()).toEqual([]);
    });

    it('is not what was rejected: it is stored in quarantine', async () => {
      await broker('local');
      await message(500);
      await values('local', RECEIVED, ...rising(420));
      await rejections(1, 100);
      expect(await found()).toEqual([]);
    });

    it('is not silence, nor a few messages, nor the count of what was stored, nor a broker whose messages nobody ever stored', async () => {
      await broker('local');
      await values('local', RECEIVED, ...rising(3_000));
      expect(await found()).toEqual([]);
      await owner.query('TRUNCATE broker_metrics');
      await message(500);
      expect(await found()).toEqual([]);
      await values('local', RECEIVED, [495, 10], [485, 11], [200, 12], [190, 13]);
      expect(await found()).toEqual([]);
    });
  });

  describe('quarantine_growing', () => {
    it('begins above the setting and ends at half of it; what is ten minutes old does not count', async () => {
      const found = () => quarantine_growing.find(read, SETTINGS);
      await rejections(1_000, 601);
      await rejections(50);
      expect(await found()).toEqual([]);
      await rejections(50, 300, 'too_deep');
      expect(await found()).toMatchObject([{ opens: false }]);
      await rejections(1, 0, 'not_object');
      expect(await found()).toMatchObject([
        {
          subject: 'quarantine',
          opens: true,
          summary: '101 messages were rejected within ten minutes, most of them as not_json.',
          details: { rejections: 101, limit: 100, reasons: { not_json: 50, too_deep: 50, not_object: 1 } },
        },
      ]);
    });

    it('counts a flood no further than it must', async () => {
      await rejections(10_001);
      expect(await quarantine_growing.find(read, SETTINGS)).toMatchObject([{ details: { rejections: 10_000 } }]);
    });
  });
});
