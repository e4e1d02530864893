import type { QueryRunner } from 'typeorm';

export interface PartitionParts {
  /** Storage parameters of the JSON index: `WITH (…)`. */
  jsonIndexParameters?: string;
  /** What is done with each new partition: text that `format` completes with its name. */
  withPartition?: string;
}

/** The function as it was made with the telemetry tables, but for these parts. */
export async function replaceEnsurePartitions(
  runner: QueryRunner,
  { jsonIndexParameters = '', withPartition }: PartitionParts,
): Promise<void> {
  await runner.query(`CREATE OR REPLACE FUNCTION ensure_partitions(from_ts timestamptz, to_ts timestamptz, json_index boolean DEFAULT true)
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
${withPartition === undefined ? '' : `          EXECUTE format('${withPartition}', partition);\n`}          RETURN NEXT partition;
        END IF;
      END IF;
      lower_ts := upper_ts;
    END LOOP;
  END
  $$`);
  // Replacing a function gives it the caller's search_path; ours names pg_temp last (migration 7).
  await runner.query(`DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION ensure_partitions(timestamptz, timestamptz, boolean) SET search_path TO %I, pg_temp', current_schema());
  END $$`);
}
