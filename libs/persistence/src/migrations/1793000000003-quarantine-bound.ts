import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What bounds the quarantine: how much it holds, a function that removes the oldest, and the record of what was removed. */
export class QuarantineBound1793000000003 implements MigrationInterface {
  name = 'QuarantineBound1793000000003';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [...account, ...trimming]) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION trim_quarantine(bigint, interval)`);
    await runner.query(`DROP TRIGGER rejections_inserted_are_counted ON rejected_messages`);
    await runner.query(`DROP TRIGGER rejections_deleted_are_counted ON rejected_messages`);
    await runner.query(`DROP TRIGGER rejections_truncated_are_counted ON rejected_messages`);
    await runner.query(`DROP FUNCTION count_quarantined_bytes()`);
    await runner.query(`DROP FUNCTION quarantined_bytes(bytea, text)`);
    await runner.query(`DROP TABLE quarantine_trims, quarantine_size_changes`);
  }
}

// How much the quarantine holds is the sum of a row for each statement that changed it: exact, at no more cost than a small
// insert, and without a row that all writers would wait for. To add up the quarantine itself would read all of it for every trim.
const account = [
  // What a rejection counts for: the payload as stored, the topic (up to 64 KiB), and 400 for the rest of the row with its index
  // entries (386 measured with a payload of 8 bytes and a topic of 34). octet_length does not read a payload that lies in TOAST.
  `CREATE FUNCTION quarantined_bytes(payload bytea, topic text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT octet_length(payload)::bigint + octet_length(topic) + 400
  $$`,
  `CREATE TABLE quarantine_size_changes (
    change_id bigserial NOT NULL,
    bytes     bigint NOT NULL,
    CONSTRAINT quarantine_size_changes_pkey PRIMARY KEY (change_id)
  )`,
  // SECURITY DEFINER: who may store a rejection needs no right on the account.
  `CREATE FUNCTION count_quarantined_bytes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  BEGIN
    IF TG_OP = 'TRUNCATE' THEN
      DELETE FROM quarantine_size_changes;
    ELSE
      INSERT INTO quarantine_size_changes (bytes)
        SELECT CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END * sum(quarantined_bytes(payload, topic)) FROM changed HAVING count(*) > 0;
    END IF;
    RETURN NULL;
  END
  $$`,
  `CREATE TRIGGER rejections_inserted_are_counted AFTER INSERT ON rejected_messages
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_quarantined_bytes()`,
  `CREATE TRIGGER rejections_deleted_are_counted AFTER DELETE ON rejected_messages
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_quarantined_bytes()`,
  `CREATE TRIGGER rejections_truncated_are_counted AFTER TRUNCATE ON rejected_messages
    FOR EACH STATEMENT EXECUTE FUNCTION count_quarantined_bytes()`,
  // After the triggers, whose making keeps writers out until this migration ends: nothing is left out or counted twice.
  `INSERT INTO quarantine_size_changes (bytes)
    SELECT sum(quarantined_bytes(payload, topic)) FROM rejected_messages HAVING count(*) > 0`,
];

const trimming = [
  `CREATE TABLE quarantine_trims (
    trim_id            bigserial NOT NULL,
    trimmed_at         timestamptz(3) NOT NULL DEFAULT now(),
    reason             varchar(10) NOT NULL,
    removed_rows       int NOT NULL,
    removed_bytes      bigint NOT NULL,
    oldest_received_at timestamptz(3) NOT NULL,
    newest_received_at timestamptz(3) NOT NULL,
    CONSTRAINT quarantine_trims_pkey PRIMARY KEY (trim_id),
    CONSTRAINT check_trim_reason CHECK (reason IN ('age', 'size'))
  )`,

  // Removes the oldest rejections that are older than max_age, then the oldest beyond max_bytes, and records it; never what waits
  // for its replay. At most one portion for each reason, so that no transaction is long: while more is true, call again.
  // No row is returned when another caller is at it. SECURITY DEFINER: who may trim has no right to delete.
  // The lock timeout is for a row that somebody has locked; the next call comes back to it.
  `CREATE FUNCTION trim_quarantine(max_bytes bigint, max_age interval)
  RETURNS TABLE (removed_by_age int, removed_by_size int, more boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '5s' AS $$
  DECLARE
    portion_rows  CONSTANT int := 20000;
    portion_bytes CONSTANT bigint := 64 * 1024 * 1024;
    why text;
    received_before timestamptz;
    bytes_to_remove bigint;
    portion record;
  BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('tallystick.trim_quarantine', 0)) THEN
      RETURN;
    END IF;
    WITH counted AS (DELETE FROM quarantine_size_changes RETURNING bytes)
    INSERT INTO quarantine_size_changes (bytes) SELECT sum(bytes) FROM counted HAVING count(*) > 0;
    more := false;
    FOREACH why IN ARRAY ARRAY['age', 'size'] LOOP
      IF why = 'age' THEN
        received_before := now() - max_age;
        bytes_to_remove := portion_bytes;
      ELSE
        received_before := 'infinity';
        SELECT coalesce(sum(bytes), 0) - max_bytes INTO bytes_to_remove FROM quarantine_size_changes;
      END IF;
      WITH oldest AS (
        SELECT rejection_id, received_at, quarantined_bytes(payload, topic) AS bytes FROM rejected_messages
        WHERE status <> 'replay_requested' AND received_at < received_before AND bytes_to_remove > 0
        ORDER BY received_at, rejection_id LIMIT portion_rows
      ), summed AS (
        SELECT rejection_id, bytes, sum(bytes) OVER (ORDER BY received_at, rejection_id) - bytes AS bytes_before FROM oldest
      ), removed AS (
        -- Asked for again: its replay may have been requested since it was looked at.
        DELETE FROM rejected_messages r USING summed s
        WHERE r.rejection_id = s.rejection_id AND s.bytes_before < least(bytes_to_remove, portion_bytes) AND r.status <> 'replay_requested'
        RETURNING r.received_at, s.bytes
      )
      SELECT count(*)::int AS removed_rows, sum(bytes) AS removed_bytes, min(received_at) AS oldest, max(received_at) AS newest
        INTO portion FROM removed;
      IF portion.removed_rows > 0 THEN
        INSERT INTO quarantine_trims (reason, removed_rows, removed_bytes, oldest_received_at, newest_received_at)
          VALUES (why, portion.removed_rows, portion.removed_bytes, portion.oldest, portion.newest);
        more := more OR portion.removed_rows = portion_rows OR portion.removed_bytes >= portion_bytes;
      END IF;
      IF why = 'age' THEN removed_by_age := portion.removed_rows; ELSE removed_by_size := portion.removed_rows; END IF;
    END LOOP;
    RETURN NEXT;
  END
  $$`,
];
