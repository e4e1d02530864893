import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What is derived from a broker's history: counts by minute and hour, which triggers keep, and views for what indexes answer. */
export class DerivedHistory1793000000010 implements MigrationInterface {
  name = 'DerivedHistory1793000000010';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [...indexes, ...counts, ...triggers, ...backfill, ...views, ...exchange]) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of undone) await runner.query(statement);
  }
}

// With all that statistics need of a session, so that they read indexes alone; and those of ended sessions without the open ones: two
// indexes then have as many entries as one had.
const INDEXES = {
  idx_sessions_start: '(broker, start_ts DESC, id DESC) INCLUDE (client, end_ts, start_uncertain, end_uncertain)',
  sessions_client_ts_idx: '(broker, client, start_ts) INCLUDE (end_ts, start_uncertain, end_uncertain)',
  idx_sessions_end_reason: '(broker, end_reason, start_ts DESC, id DESC) WHERE end_reason IS NOT NULL',
};
const names = Object.keys(INDEXES);
const indexes = [
  ...Object.entries(INDEXES).map(([name, what]) => `CREATE INDEX new_${name} ON sessions ${what}`),
  `CREATE INDEX idx_sessions_ended_by ON sessions (broker, ended_by, start_ts DESC, id DESC) WHERE ended_by IS NOT NULL`,
  // An index is read alone where VACUUM has been. By default it comes after a fifth of the table has changed: weeks of sessions.
  `ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02)`,
];
// At the end of all: from here on readers wait too.
const exchange = [`DROP INDEX ${names.join(', ')}`, ...names.map((name) => `ALTER INDEX new_${name} RENAME TO ${name}`)];

// A day is the sum of its hours; hours from minutes, or minutes from events, would be too much to read.
const counts = [
  `CREATE TABLE event_counts (
    broker   varchar(100) NOT NULL,
    bucket   varchar(6) NOT NULL,
    start_ts timestamptz(3) NOT NULL,
    action   varchar(20) NOT NULL,
    events   bigint NOT NULL,
    CONSTRAINT event_counts_pkey PRIMARY KEY (broker, bucket, start_ts, action),
    CONSTRAINT check_event_bucket CHECK (bucket IN ('minute', 'hour'))
  ) WITH (fillfactor = 80)`,
  `CREATE TABLE session_end_counts (
    broker     varchar(100) NOT NULL,
    bucket     varchar(6) NOT NULL,
    start_ts   timestamptz(3) NOT NULL,
    end_reason varchar(20) NOT NULL,
    sessions   bigint NOT NULL,
    CONSTRAINT session_end_counts_pkey PRIMARY KEY (broker, bucket, start_ts, end_reason),
    CONSTRAINT check_session_end_bucket CHECK (bucket IN ('minute', 'hour'))
  ) WITH (fillfactor = 80)`,
];

const BUCKETS = `CROSS JOIN (VALUES ('minute'), ('hour')) AS b (bucket)`;
const countOf = (rows: string) => `
  SELECT broker, bucket, date_trunc(bucket, ts, 'UTC') AS start_ts, action, count(*)
  FROM ${rows} GROUP BY 1, 2, 3, 4`;
const countOfEnds = (rows: string) => `
  SELECT broker, bucket, date_trunc(bucket, end_ts, 'UTC') AS start_ts, coalesce(end_reason, 'unknown') AS end_reason, sum(one)
  FROM ${rows} WHERE end_ts IS NOT NULL GROUP BY 1, 2, 3, 4`;

// By triggers, in the transaction that writes events and sessions: never counted twice or not at all, and by a watcher of the version
// before as well. In the order of the key: two writers take row locks in the same order. Rows that are deleted stay counted: they
// are removed because they are old. SECURITY DEFINER: who may write history needs no right on the counts.
const triggers = [
  `CREATE FUNCTION count_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
  BEGIN
    INSERT INTO event_counts AS c (broker, bucket, start_ts, action, events) ${countOf(`added ${BUCKETS}`)} ORDER BY 1, 2, 3, 4
    ON CONFLICT (broker, bucket, start_ts, action) DO UPDATE SET events = c.events + excluded.events;
    RETURN NULL;
  END
  $$`,
  // What was said of an end may be corrected: the old word is counted off, the new one on.
  `CREATE FUNCTION count_session_ends() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
  BEGIN
    IF TG_OP = 'INSERT' THEN
      INSERT INTO session_end_counts AS c (broker, bucket, start_ts, end_reason, sessions)
        ${countOfEnds(`(SELECT *, 1 AS one FROM after) ended ${BUCKETS}`)} ORDER BY 1, 2, 3, 4
      ON CONFLICT (broker, bucket, start_ts, end_reason) DO UPDATE SET sessions = c.sessions + excluded.sessions;
    ELSE
      INSERT INTO session_end_counts AS c (broker, bucket, start_ts, end_reason, sessions)
        ${countOfEnds(`(SELECT *, 1 AS one FROM after UNION ALL SELECT *, -1 FROM before) ended ${BUCKETS}`)} HAVING sum(one) <> 0 ORDER BY 1, 2, 3, 4
      ON CONFLICT (broker, bucket, start_ts, end_reason) DO UPDATE SET sessions = c.sessions + excluded.sessions;
    END IF;
    RETURN NULL;
  END
  $$`,
  `DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION count_events() SET search_path TO %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION count_session_ends() SET search_path TO %I, pg_temp', current_schema());
  END $$`,
  `CREATE TRIGGER events_are_counted AFTER INSERT ON events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_events()`,
  `CREATE TRIGGER ended_sessions_are_counted AFTER INSERT ON sessions
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_session_ends()`,
  `CREATE TRIGGER session_ends_are_counted AFTER UPDATE ON sessions
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_session_ends()`,
];

// After the triggers, whose making keeps writers out until this migration ends: nothing is left out or counted twice. Writers wait
// for it, so it goes back no further than the longest range that the API takes. Hours are added up from minutes.
const RECENT = `now() - interval '366 days'`;
const backfill = [
  `INSERT INTO event_counts (broker, bucket, start_ts, action, events)
   ${countOf(`(SELECT *, 'minute' AS bucket FROM events WHERE received_at >= ${RECENT}) recent`)}`,
  `INSERT INTO event_counts (broker, bucket, start_ts, action, events)
   SELECT broker, 'hour', date_trunc('hour', start_ts, 'UTC'), action, sum(events) FROM event_counts GROUP BY 1, 2, 3, 4`,
  `INSERT INTO session_end_counts (broker, bucket, start_ts, end_reason, sessions)
   ${countOfEnds(`(SELECT *, 'minute' AS bucket, 1 AS one FROM sessions WHERE end_ts >= ${RECENT}) recent`)}`,
  `INSERT INTO session_end_counts (broker, bucket, start_ts, end_reason, sessions)
   SELECT broker, 'hour', date_trunc('hour', start_ts, 'UTC'), end_reason, sum(sessions) FROM session_end_counts GROUP BY 1, 2, 3, 4`,
];

const views = [
  // Of a client and a UTC day. A session counts whole on the day on which it began, its end on the day of the end. Lengths are of
  // those whose length is known: not of uncertain ones, and of open ones until now.
  `CREATE VIEW session_stats AS
   SELECT broker, client, day,
     count(*) FILTER (WHERE began) AS sessions,
     count(*) FILTER (WHERE NOT began) AS ended,
     count(*) AS churn,
     count(*) FILTER (WHERE began AND is_open) AS open,
     count(*) FILTER (WHERE began AND is_uncertain) AS uncertain,
     coalesce(sum(duration) FILTER (WHERE began AND NOT is_uncertain), interval '0') AS total_duration,
     percentile_cont(0.5) WITHIN GROUP (ORDER BY duration) FILTER (WHERE began AND NOT is_uncertain) AS median_duration
   FROM (
     SELECT broker, client, (start_ts AT TIME ZONE 'UTC')::date AS day, true AS began, end_ts IS NULL AS is_open,
       start_uncertain OR end_uncertain AS is_uncertain, greatest(interval '0', coalesce(end_ts, now()) - start_ts) AS duration
     FROM sessions
     UNION ALL
     SELECT broker, client, (end_ts AT TIME ZONE 'UTC')::date, false, NULL, NULL, NULL FROM sessions WHERE end_ts IS NOT NULL
   ) changes
   GROUP BY broker, client, day`,
  `CREATE VIEW subscription_popularity AS
   SELECT broker, topic, count(*) AS subscribers, count(*) FILTER (WHERE uncertain) AS uncertain
   FROM subscriptions WHERE active GROUP BY broker, topic`,
];

const undone = [
  `DROP VIEW subscription_popularity, session_stats`,
  `DROP TRIGGER session_ends_are_counted ON sessions`,
  `DROP TRIGGER ended_sessions_are_counted ON sessions`,
  `DROP TRIGGER events_are_counted ON events`,
  `DROP FUNCTION count_session_ends()`,
  `DROP FUNCTION count_events()`,
  `DROP TABLE session_end_counts, event_counts`,
  `ALTER TABLE sessions RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor)`,
  `DROP INDEX idx_sessions_ended_by, idx_sessions_end_reason, sessions_client_ts_idx, idx_sessions_start`,
  `CREATE INDEX idx_sessions_start ON sessions (broker, start_ts DESC, id DESC)`,
  `CREATE INDEX sessions_client_ts_idx ON sessions (broker, client, start_ts)`,
  `CREATE INDEX idx_sessions_end_reason ON sessions (broker, end_reason, start_ts DESC, id DESC)`,
];
