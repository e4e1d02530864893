import { spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, onCleanUp, type RunningApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { DatabaseServer, metric, startBridge, status, unaccounted, untilStored } from './bridge-under-test.js';
import { form, report } from './fault-run.js';
import { type LedgerEntry, PublisherLedger } from './publisher-ledger.js';
import { audit, auditQuarantine, countRows, query, WHOLE } from './record-oracle.js';

const RECOVERED_WITHIN_MS = 30_000;
const TIMEOUT_MS = form(180_000, 600_000);

describe('the database refuses', () => {
  let broker: TestBroker;
  let ledger: PublisherLedger;
  beforeEach(async () => {
    broker = await startTestBroker();
    ledger = await PublisherLedger.connect(broker.url);
  });
  afterEach(() => ledger.end());

  /** All of the ledger is stored, none of it in quarantine, and the bridge is ready again. */
  async function expectAllStored(bridge: RunningApp, url: string, done: string, counted: Record<string, number> = {}) {
    await untilStored(bridge, url, ledger.acknowledged.length);
    await bridge.waitForReady(RECOVERED_WITHIN_MS);
    expect(await unaccounted(bridge)).toBe(0);
    expect(await bridge.stop()).toBe(0);
    const [found, quarantined] = [await audit(url, ledger.acknowledged), await countRows(url, 'rejected_messages')];
    report(done, { ...found, quarantined, ...counted });
    expect(found).toMatchObject({ ...WHOLE, pending: 0 });
    expect(quarantined).toBe(0);
  }

  it(
    'rows with disk_full (53100) in the middle of COPY: nothing acknowledged, nothing quarantined, and on as soon as there is room',
    async () => {
      const database = await createTestDatabase();
      const bridge = await startBridge(database.url, broker.url);
      const load = ledger.load({ ratePerS: 500 });
      await until(async () => (await countRows(database.url)) > 200);
      await query(
        database.url,
        `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.leaf_index % 10 = 9) EXECUTE FUNCTION refuse()`,
      );
      await until(async () => (await status(bridge, 'readyz')) === 503);
      await sleep(2_000);
      const rows = await countRows(database.url);
      await sleep(1_000);
      expect(await countRows(database.url)).toBe(rows);
      expect([await status(bridge, 'livez'), await status(bridge, 'readyz')]).toEqual([200, 503]);
      await query(database.url, 'DROP TRIGGER refuse ON messages');
      await load.stop();
      await expectAllStored(bridge, database.url, 'disk_full raised by a trigger');
    },
    TIMEOUT_MS,
  );

  const smallDisk = mountSmallDisk();
  (smallDisk ? it : it.skip)(
    'rows because the file system of their partition is really full',
    async () => {
      const database = await DatabaseServer.start();
      chownSync(smallDisk!, ...database.owner());
      const bridge = await startBridge(database.url, broker.url, { DATABASE_ALLOW_DATA_LOSS: 'false' });
      await query(database.url, `CREATE TABLESPACE small LOCATION '${smallDisk!}'`);
      await query(database.url, `ALTER TABLE ${await todaysPartition(database.url)} SET TABLESPACE small`);
      const load = ledger.load({ ratePerS: 500 });
      await until(async () => (await countRows(database.url)) > 200);
      fill(join(smallDisk!, 'filler'));
      await until(async () => (await metric(bridge, 'database_commit_failures_total{failure="passing"}')) > 0, { timeoutMs: 60_000 });
      await until(async () => (await status(bridge, 'readyz')) === 503);
      await sleep(3_000);
      expect(await status(bridge, 'livez')).toBe(200);
      rmSync(join(smallDisk!, 'filler'));
      await load.stop();
      await expectAllStored(bridge, database.url, 'a tablespace really full');
    },
    TIMEOUT_MS,
  );

  it(
    'nothing for long when the partition of the day is missing',
    async () => {
      const database = await createTestDatabase();
      const bridge = await startBridge(database.url, broker.url);
      await query(database.url, `DROP TABLE ${await todaysPartition(database.url)}`);
      await ledger.load({ ratePerS: 500, total: 1_000 }).done;
      await expectAllStored(bridge, database.url, 'partition of the day dropped');
    },
    TIMEOUT_MS,
  );

  it(
    'poison messages: 50 of 500 end in quarantine, and 20 are stored without their searchable copy',
    async () => {
      const database = await createTestDatabase();
      // The session is made first, so that all 500 are waiting when the bridge comes: they share commits.
      await (await startBridge(database.url, broker.url)).stop();
      await query(
        database.url,
        `ALTER TABLE messages ADD CONSTRAINT messages_poison CHECK (position('"poison"'::bytea IN payload) = 0);
         ALTER TABLE messages ADD CONSTRAINT messages_unsearchable CHECK (NOT coalesce(raw_data ? 'unsearchable', false))`,
      );
      const poison: LedgerEntry[] = [];
      const good: LedgerEntry[] = [];
      for (let i = 0; i < 500; i++) {
        const topic = `veep/t${i % 2}/s/d${i % 7}/data`;
        const kind = i % 10 === 3 ? 'poison' : i % 25 === 7 ? 'unsearchable' : 'good';
        const payload = ledger.nextPayload(topic).replace('{', `{"${kind}":true,`);
        (kind === 'poison' ? poison : good).push({ topic, payload });
        await ledger.publish(topic, payload);
      }
      const unsearchable = good.filter(({ payload }) => payload.includes('unsearchable')).length;
      expect([good.length, poison.length, unsearchable]).toEqual([450, 50, 20]);

      const bridge = await startBridge(database.url, broker.url);
      await untilStored(bridge, database.url, good.length);
      await bridge.waitForReady(RECOVERED_WITHIN_MS);
      expect(await unaccounted(bridge)).toBe(0);
      const tries = await metric(bridge, 'database_commit_failures_total{failure="row_refused"}');
      expect(await bridge.stop()).toBe(0);

      const found = await audit(database.url, good);
      report('50 poison messages and 20 unsearchable ones among 500', { ...found, quarantined: poison.length, tries });
      expect(found).toMatchObject({ ...WHOLE, pending: 0, stored: 450 });
      expect(await auditQuarantine(database.url, poison)).toEqual({ lost: 0, doubled: 0 });
      // Bisection finds one of n in log2 n tries; the row itself is refused with and without its searchable copy.
      expect(tries).toBeLessThanOrEqual((poison.length + unsearchable) * (Math.ceil(Math.log2(500)) + 2));
      const [row] = await query(
        database.url,
        `SELECT (SELECT count(*)::int FROM rejected_messages WHERE reason = 'database_refused' AND detail LIKE '%23514%messages_poison%') AS refused,
                (SELECT count(*)::int FROM messages WHERE raw_data IS NULL AND raw_data_error LIKE '%23514%' AND position('unsearchable'::bytea IN payload) > 0) AS without`,
      );
      expect(row).toEqual({ refused: 50, without: 20 });
      expect(await query(database.url, 'SELECT FROM messages WHERE (raw_data IS NULL) <> (raw_data_error IS NOT NULL)')).toEqual([]);
      // The order of a device holds over those without raw_data too, which the audit does not see.
      expect(
        await query(
          database.url,
          `SELECT FROM (SELECT seq <= lag(seq) OVER (PARTITION BY topic ORDER BY batch_id, leaf_index) AS is_late FROM
             (SELECT topic, batch_id, leaf_index, (convert_from(payload, 'UTF8')::jsonb ->> 'seq')::int AS seq FROM messages) m) o WHERE is_late`,
        ),
      ).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

async function todaysPartition(url: string): Promise<string> {
  const [row] = await query<{ name: string }>(url, `SELECT 'messages_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') AS name`);
  return row!.name;
}

/** A file system of 16 MB, if we may mount one (Linux, root). */
function mountSmallDisk(): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'tallystick-disk-'));
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', dir]).status !== 0) return undefined;
  onCleanUp(() => Promise.resolve(spawnSync('umount', ['--lazy', dir])));
  return dir;
}

/** Writes until there is no room left. */
function fill(path: string): void {
  try {
    for (;;) writeFileSync(path, Buffer.alloc(8_192), { flag: 'a' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  expect(statSync(path).size).toBeGreaterThan(0);
}
