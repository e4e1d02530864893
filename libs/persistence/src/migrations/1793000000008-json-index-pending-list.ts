import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Kilobytes of new entries that the JSON index of a partition gathers before a commit sorts them in. With PostgreSQL's 4 MB that
 * commit took half a second, and everything behind it waited (ADR 0024).
 */
const PENDING_LIST_KB = 1024;

export class JsonIndexPendingList1793000000008 implements MigrationInterface {
  name = 'JsonIndexPendingList1793000000008';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(ensurePartitions(`WITH (gin_pending_list_limit = ${PENDING_LIST_KB})`));
    await keepDefinerSearchPath(runner);
    await runner.query(ofEveryJsonIndex(`SET (gin_pending_list_limit = ${PENDING_LIST_KB})`));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(ensurePartitions(''));
    await keepDefinerSearchPath(runner);
    await runner.query(ofEveryJsonIndex(`RESET (gin_pending_list_limit)`));
  }
}

/** As it was made with the telemetry tables, but for the storage parameters of the JSON index. */
function ensurePartitions(jsonIndexParameters: string): string {
  return `CREATE OR REPLACE FUNCTION ensure_partitions(from_ts timestamptz, to_ts timestamptz, json_index boolean DEFAULT true)
  RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  DECLARE
    lower_ts timestamptz := date_trunc('day', from_ts, 'UTC');
    upper_ts timestamptz;
    partition text;
  BEGIN
    IF to_ts - from_ts > interval '400 days' THEN
      RAISE EXCEPTION 'ensure_partitions: a span of % is too long', to_ts - from_ts USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WHILE lower_ts <= to_ts LOOP
      upper_ts := lower_ts + interval '24 hours';
      partition := 'messages_' || to_char(lower_ts AT TIME ZONE 'UTC', 'YYYYMMDD');
      IF to_regclass(quote_ident(partition)) IS NULL THEN
        LOCK TABLE devices, batches IN SHARE ROW EXCLUSIVE MODE;
        IF to_regclass(quote_ident(partition)) IS NULL THEN
          EXECUTE format('CREATE TABLE %I (LIKE messages INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', partition);
          EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (received_at >= %L AND received_at < %L)',
                         partition, partition || '_received_at', lower_ts, upper_ts);
          EXECUTE format('CREATE UNIQUE INDEX %I ON %I (batch_id, leaf_index)', partition || '_batch_leaf', partition);
          IF json_index THEN
            EXECUTE format('CREATE INDEX %I ON %I USING gin (raw_data jsonb_path_ops) ${jsonIndexParameters}',
                           partition || '_raw_data', partition);
          END IF;
          EXECUTE format('ALTER TABLE messages ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                         partition, uuidv7_floor(lower_ts), uuidv7_floor(upper_ts));
          RETURN NEXT partition;
        END IF;
      END IF;
      lower_ts := upper_ts;
    END LOOP;
  END
  $$`;
}

/** Replacing a function gives it the caller's search_path; ours names pg_temp last (migration 7). */
function keepDefinerSearchPath(runner: QueryRunner): Promise<unknown> {
  return runner.query(`DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION ensure_partitions(timestamptz, timestamptz, boolean) SET search_path TO %I, pg_temp', current_schema());
  END $$`);
}

function ofEveryJsonIndex(change: string): string {
  return `DO $$ DECLARE index regclass; BEGIN
    FOR index IN
      SELECT indexes.oid FROM pg_inherits
      JOIN pg_index ON pg_index.indrelid = pg_inherits.inhrelid
      JOIN pg_class indexes ON indexes.oid = pg_index.indexrelid
      JOIN pg_am ON pg_am.oid = indexes.relam
      WHERE pg_inherits.inhparent = 'messages'::regclass AND pg_am.amname = 'gin'
    LOOP EXECUTE format('ALTER INDEX %s ${change}', index); END LOOP;
  END $$`;
}
