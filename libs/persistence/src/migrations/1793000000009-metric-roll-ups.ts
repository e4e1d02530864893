import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Roll-ups of the brokers' metrics by minute and by hour, how far they reach, and what removes the values that they replace. */
export class MetricRollUps1793000000009 implements MigrationInterface {
  name = 'MetricRollUps1793000000009';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [rollUp('1m'), rollUp('1h'), ...state, dropDay, trimMinutes]) await runner.query(statement);
    // As in DefinerSearchPath: a caller's temporary table must not take the place of ours.
    for (const signature of DEFINER_FUNCTIONS) {
      await runner.query(`DO $$ BEGIN
        EXECUTE format('ALTER FUNCTION ${signature} SET search_path TO %I, pg_temp', current_schema());
      END $$`);
    }
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const signature of DEFINER_FUNCTIONS) await runner.query(`DROP FUNCTION ${signature}`);
    await runner.query(`DROP TABLE broker_metrics_late, broker_metric_roll_ups, broker_metrics_1h, broker_metrics_1m`);
  }
}

const DEFINER_FUNCTIONS = ['drop_broker_metrics_day(int)', 'trim_broker_metrics_1m(int, int)'];

// Keyed as series are read: one metric of one broker, in order of time. Not partitioned: a day of minutes is a sixth of a day of
// values or less, it goes metric by metric along the key, and a series of a month would have to open 31 partitions.
function rollUp(span: '1m' | '1h'): string {
  return `CREATE TABLE broker_metrics_${span} (
    broker    varchar(100) NOT NULL,
    metric    text NOT NULL,
    ts        timestamptz(3) NOT NULL,
    min       double precision NOT NULL,
    max       double precision NOT NULL,
    avg       double precision NOT NULL,
    first     double precision NOT NULL,
    last      double precision NOT NULL,
    increase  double precision NOT NULL,
    count     int NOT NULL,
    first_ts  timestamptz(3) NOT NULL,
    last_ts   timestamptz(3) NOT NULL,
    usual_silence interval,
    broken_ts timestamptz(3),
    CONSTRAINT broker_metrics_${span}_pkey PRIMARY KEY (broker, metric, ts)
  )`;
}

const state = [
  `CREATE TABLE broker_metric_roll_ups (
    broker       varchar(100) NOT NULL,
    rolled_until timestamptz(3) NOT NULL,
    raw_from     timestamptz(3),
    minutes_from timestamptz(3),
    CONSTRAINT broker_metric_roll_ups_pkey PRIMARY KEY (broker)
  ) WITH (fillfactor = 50)`,
  `CREATE TABLE broker_metrics_late (
    broker varchar(100) NOT NULL,
    ts     timestamptz(3) NOT NULL,
    CONSTRAINT broker_metrics_late_pkey PRIMARY KEY (broker, ts)
  )`,
];

// Drops the oldest day of values that is older than keep_days, if all of it is rolled up, for every broker that has values in it;
// otherwise names the brokers that it waits for. No row: no day is old enough, or somebody else is at it.
// SECURITY DEFINER: who may do this has no other right to drop. The server's clock decides, not the caller's.
// DROP needs the parent for itself for a moment; behind it wait readers and writers of all metrics, hence the short lock timeout.
const dropDay = `CREATE FUNCTION drop_broker_metrics_day(keep_days int)
  RETURNS TABLE (partition text, ends_at timestamptz, waits_for text[])
  LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
  DECLARE
    begins_at timestamptz;
  BEGIN
    IF keep_days < 1 THEN
      RAISE EXCEPTION 'drop_broker_metrics_day: % days are too few', keep_days USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The lock under which partitions are made.
    IF NOT pg_try_advisory_xact_lock(hashtextextended('tallystick.history_partitions', 0)) THEN
      RETURN;
    END IF;
    SELECT c.relname, to_timestamp(right(c.relname, 8) || ' +00', 'YYYYMMDD TZH') INTO partition, begins_at
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'broker_metrics'::regclass AND c.relname ~ '^broker_metrics_[0-9]{8}$'
      ORDER BY c.relname LIMIT 1;
    ends_at := begins_at + interval '24 hours';
    IF partition IS NULL OR ends_at > now() - make_interval(days => keep_days) THEN
      RETURN;
    END IF;
    -- Nothing more comes into it while it is looked at: what is late is noted in the transaction that stores it.
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', partition);
    EXECUTE format($query$
      WITH RECURSIVE brokers AS (
        (SELECT broker FROM %1$I ORDER BY broker LIMIT 1)
        UNION ALL
        SELECT (SELECT p.broker FROM %1$I p WHERE p.broker > brokers.broker ORDER BY p.broker LIMIT 1) FROM brokers WHERE broker IS NOT NULL
      )
      SELECT coalesce(array_agg(b.broker), '{}') FROM brokers b LEFT JOIN broker_metric_roll_ups r USING (broker)
      WHERE b.broker IS NOT NULL AND (r.rolled_until IS NULL OR r.rolled_until < $2
        OR EXISTS (SELECT FROM broker_metrics_late l WHERE l.broker = b.broker AND l.ts >= $1 AND l.ts < $2))
    $query$, partition) INTO waits_for USING begins_at, ends_at;
    IF waits_for = '{}' THEN
      EXECUTE format('DROP TABLE %I', partition);
      UPDATE broker_metric_roll_ups SET raw_from = ends_at WHERE raw_from IS NULL OR raw_from < ends_at;
    END IF;
    RETURN NEXT;
  END
  $$`;

// Removes minutes that are older than keep_days, of any broker, at most so many, and returns how many it were: while as many, call again. Whole days only, and only what is in hours. SECURITY DEFINER: who may do this has no right to delete.
const trimMinutes = `CREATE FUNCTION trim_broker_metrics_1m(keep_days int, most int) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '5s' AS $$
  DECLARE
    roll_up record;
    removed_before timestamptz;
    name text;
    removed int := 0;
    portion int;
  BEGIN
    IF keep_days < 1 THEN
      RAISE EXCEPTION 'trim_broker_metrics_1m: % days are too few', keep_days USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('tallystick.trim_broker_metrics_1m', 0)) THEN
      RETURN 0;
    END IF;
    FOR roll_up IN SELECT * FROM broker_metric_roll_ups ORDER BY broker LOOP
      removed_before := date_trunc('day', least(now() - make_interval(days => keep_days), roll_up.rolled_until,
        (SELECT min(ts) FROM broker_metrics_late WHERE broker = roll_up.broker)), 'UTC');
      -- Before anything is removed: from here on readers take hours.
      UPDATE broker_metric_roll_ups SET minutes_from = removed_before
        WHERE broker = roll_up.broker AND (minutes_from IS NULL OR minutes_from < removed_before);
      SELECT min(metric) INTO name FROM broker_metrics_1m WHERE broker = roll_up.broker;
      WHILE name IS NOT NULL AND removed < most LOOP
        DELETE FROM broker_metrics_1m WHERE broker = roll_up.broker AND metric = name AND ts IN (
          SELECT ts FROM broker_metrics_1m WHERE broker = roll_up.broker AND metric = name AND ts < removed_before ORDER BY ts LIMIT most - removed
        );
        GET DIAGNOSTICS portion = ROW_COUNT;
        removed := removed + portion;
        SELECT min(metric) INTO name FROM broker_metrics_1m WHERE broker = roll_up.broker AND metric > name;
      END LOOP;
    END LOOP;
    RETURN removed;
  END
  $$`;
