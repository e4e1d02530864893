import { createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import { planned, type PlanNode, readingOf, rowsRead } from '../../test/plans.js';
import { readingAs } from '../../test/reader.js';
import { findBatchSpan, listBatches } from '../batches/batches.queries.js';
import { findDevices, findDeviceStatistics, listDevices } from '../devices/devices.queries.js';
import type { CursorKey } from '../http/cursor.js';
import type { JsonText } from '../http/json-text.js';
import { ListRequest } from '../http/list.js';
import type { MessageSummary } from '../messages/messages.dto.js';
import { listBatchMessages, listMessages, type MessagesFilter } from '../messages/messages.queries.js';
import { listRejections, type RejectionsFilter } from '../rejections/rejections.queries.js';
import type { Reader } from './database.js';

const TENANT = 'tenant-07';
const DEVICE = 'DEVICE_0007';

/** The last two days of 50 tenants with 40 devices each: 100,000 messages in 2,000 batches, 20,000 rejections. */
const ROWS = [
  `SELECT ensure_partitions(now() - interval '2 days', now())`,
  `INSERT INTO devices (tenant_id, device_id, site_id, created_at)
   SELECT 'tenant-' || lpad((n % 50)::text, 2, '0'), 'DEVICE_' || lpad(n::text, 4, '0'), 'line' || n % 7, now() - interval '3 days' + n * interval '1 s'
   FROM generate_series(0, 1999) n`,
  `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root, receiver,
                        sealed_at, close_reason)
   SELECT (left(uuidv7_floor(t)::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, 'tenant-' || lpad((n % 50)::text, 2, '0'), repeat('0', 64), 50,
     t, now(), 'complete', t, decode(repeat('00', 32), 'hex'), 'bridge-1', now(), 'size'
   FROM generate_series(0, 1999) n, LATERAL (SELECT now() - interval '2 days' + n * interval '86 s' AS t) x`,
  `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, raw_data, payload, payload_size, nonce,
                         received_at, qos, retained)
   SELECT (left(uuidv7_floor(t)::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, b.batch_id, n / 2000,
     'tenant-' || lpad((n % 50)::text, 2, '0'), 'line' || n % 2000 % 7, 'DEVICE_' || lpad((n % 2000)::text, 4, '0'), 'veep/x',
     encode(sha256(n::text::bytea), 'hex'), jsonb_build_object('n', n, 'unit', 'kWh'), convert_to('{"n": ' || n || ', "unit": "kWh"}', 'UTF8'), 20,
     decode(repeat('00', 16), 'hex'), t, 1, false
   FROM generate_series(0, 99999) n
   CROSS JOIN LATERAL (SELECT now() - interval '2 days' + n * interval '1.72 s' AS t) x
   JOIN (SELECT batch_id, row_number() OVER (ORDER BY batch_id) - 1 AS place FROM batches) b ON b.place = n % 2000`,
  `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, payload_hash, reason, receiver, qos)
   SELECT gen_random_uuid(), now() - interval '2 days' + n * interval '8 s', CASE WHEN n % 3 > 0 THEN 'tenant-' || lpad((n % 50)::text, 2, '0') END,
     'veep/x', '', 0, repeat('0', 64), CASE WHEN n % 100 = 57 THEN 'too_deep' ELSE 'not_json' END, 'bridge-1', 1
   FROM generate_series(0, 19999) n`,
  'VACUUM ANALYZE devices, batches, messages, rejected_messages',
];

const deviceOf = ({ text }: JsonText) => (JSON.parse(text) as MessageSummary).deviceId;

/** As many rows as this at most are read, of 100,000 messages, for a page of 50. */
const FEW = 3_000;

describe('a list that is asked for as the role of the API', () => {
  let sql: pg.Client;

  beforeAll(async () => {
    sql = new pg.Client({ connectionString: (await createTestDatabase()).url });
    // The end of the file drops the database under it.
    sql.on('error', () => undefined);
    await sql.connect();
    for (const statement of ROWS) await sql.query(statement);
    // What VACUUM has read for the BRIN index is not to be counted as read by a query.
    await sql.query('SELECT pg_stat_force_next_flush()');
  }, 120_000);
  afterAll(() => sql.end());

  const reading = <T>(tenantId: string | null, work: (read: Reader) => Promise<T>) => readingAs(sql, tenantId, work);
  const plannedOf = (query: (read: Reader) => Promise<unknown>) => reading(TENANT, (read) => planned(read, query));

  const LARGE = /^(messages|batches|devices|rejected_messages)/;
  const ofLargeTables = (nodes: PlanNode[]) => readingOf(LARGE, nodes);
  // The partition of a day that has just begun is small, and best read as a whole.
  const scans = (nodes: PlanNode[]) => ofLargeTables(nodes).filter((node) => node['Node Type'] === 'Seq Scan' && rowsRead([node]) > 500);

  const list = (kinds: CursorKey[]) => new ListRequest('list', kinds, { limit: 50 });
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);
  const day = { from: hoursAgo(24) };
  const messages = (filter: MessagesFilter) => (read: Reader) => listMessages(read, filter, list(['uuid']));
  const rejections = (filter: RejectionsFilter) => (read: Reader) => listRejections(read, filter, list(['time', 'uuid']));
  const ofBatch = async (read: Reader) => {
    const { batchId } = (await listBatches(read, {}, list(['time', 'uuid']))).items[0]!;
    return listBatchMessages(read, { batchId, ...(await findBatchSpan(read, batchId))! }, list(['int', 'uuid']));
  };
  const furtherPage = async (read: Reader) => {
    const { nextCursor } = await listMessages(read, day, list(['uuid']));
    return listMessages(read, day, new ListRequest('list', ['uuid'], { limit: 50, cursor: nextCursor! }));
  };
  const device = async (read: Reader) => findDeviceStatistics(read, (await findDevices(read, { deviceId: DEVICE }))[0]!);

  it.each<[string, (read: Reader) => Promise<unknown>]>([
    ['messages of a day', messages(day)],
    ['messages of a day, a further page', furtherPage],
    ['messages of an hour', messages({ from: hoursAgo(30), to: hoursAgo(29) })],
    ['messages of a device', messages({ deviceId: DEVICE })],
    ['messages of a device within an hour', messages({ deviceId: DEVICE, from: hoursAgo(30), to: hoursAgo(29) })],
    ['messages of a site', messages({ ...day, siteId: 'line3' })],
    ['messages of a hash', messages({ hash: '5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9' })],
    ['messages of a day by their JSON', messages({ ...day, data: '{"n":99957}' })],
    ['messages of a device by their JSON', messages({ deviceId: DEVICE, data: '{"n":7}' })],
    ['messages of a batch', ofBatch],
    ['batches', (read) => listBatches(read, {}, list(['time', 'uuid']))],
    ['batches of a status', (read) => listBatches(read, { status: 'pending' }, list(['time', 'uuid']))],
    ['devices', (read) => listDevices(read, {}, list(['time', 'text', 'text']))],
    ['devices of a site', (read) => listDevices(read, { siteId: 'line3' }, list(['time', 'text', 'text']))],
    ['a device with its statistics', device],
    ['rejections', rejections({})],
    ['rejections of a reason', rejections({ reason: 'too_deep' })],
    ['rejections of a status', rejections({ status: 'discarded' })],
    ['rejections of a day', rejections(day)],
  ])('scans no large table for %s of one tenant', async (_, query) => {
    const nodes = await plannedOf(query);
    expect(ofLargeTables(nodes)).not.toEqual([]);
    expect(scans(nodes)).toEqual([]);
    expect(rowsRead(ofLargeTables(nodes))).toBeLessThan(FEW);
  });

  it('counts what a device has sent from the index alone', async () => {
    const counting = (await plannedOf(device)).filter((node) => node['Node Type'] === 'Index Only Scan');
    expect(counting.length).toBeGreaterThan(0);
  });

  describe('by JSON, of the whole platform', () => {
    const search = (read: Reader, filter: MessagesFilter) => listMessages(read, { from: hoursAgo(60), ...filter }, list(['uuid']));

    it('finds a rare one by the index of raw_data', async () => {
      const { found, indexScans, rowsScanned } = await reading(null, async (read) => {
        const { items } = await search(read, { data: '{"n":4711}' });
        const [scans] = await read<{ indexScans: number; rowsScanned: number }>(
          `SELECT sum(pg_stat_get_xact_numscans(i.indexrelid)) FILTER (WHERE a.amname = 'gin')::int AS "indexScans",
             (SELECT sum(pg_stat_get_xact_tuples_returned(inhrelid))::int FROM pg_inherits WHERE inhparent = 'messages'::regclass) AS "rowsScanned"
           FROM pg_inherits JOIN pg_index i ON i.indrelid = inhrelid JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
           WHERE inhparent = 'messages'::regclass`,
        );
        return { found: items.map(deviceOf), ...scans! };
      });
      expect(found).toEqual(['DEVICE_0711']);
      expect(rowsScanned).toBeLessThan(500);
      expect(indexScans).toBeGreaterThan(0);
    });

    it('finds a common one, newest first, up to the page', async () => {
      const { items, nextCursor } = await reading(null, (read) => search(read, { data: '{"unit":"kWh"}' }));
      expect(items).toHaveLength(50);
      expect(nextCursor).not.toBeNull();
      expect(deviceOf(items[0]!)).toBe('DEVICE_1999');
    });

    it('is refused by the database to whoever does not see all tenants', async () => {
      const asTenant = reading(TENANT, (read) => read(`SELECT messages_containing('{"n":1}', NULL, NULL, NULL, NULL, 1)`));
      await expect(asTenant).rejects.toMatchObject({ code: '42501' });
    });
  });
});
