import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Names that publishers give their messages (`DEDUP_KEY`), so that a message handed to two bridges is stored by one. */
export class DeduplicationKeys1793000000004 implements MigrationInterface {
  name = 'DeduplicationKeys1793000000004';

  async up(runner: QueryRunner): Promise<void> {
    // Hashes of 32 bytes: topic and key may be longer than an index entry, and may hold U+0000.
    await runner.query(`CREATE TABLE deduplication_keys (
      key_hash  bytea NOT NULL,
      stored_at timestamptz(3) NOT NULL DEFAULT now(),
      CONSTRAINT deduplication_keys_pkey PRIMARY KEY (key_hash)
    )`);
    await runner.query(`CREATE INDEX idx_deduplication_keys_stored_at ON deduplication_keys (stored_at)`);

    // SECURITY DEFINER: a writer has no DELETE right, and with this it can remove nothing younger than an hour.
    // In parts, so that no transaction is long; SKIP LOCKED, so that any number of writers may call it at once.
    await runner.query(`CREATE FUNCTION forget_deduplication_keys(keep_hours int, most int) RETURNS int
      LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
      DECLARE
        forgotten int;
      BEGIN
        IF keep_hours < 1 THEN
          RAISE EXCEPTION 'forget_deduplication_keys: % hours are too few', keep_hours USING ERRCODE = 'invalid_parameter_value';
        END IF;
        DELETE FROM deduplication_keys WHERE key_hash IN (
          SELECT key_hash FROM deduplication_keys WHERE stored_at < now() - make_interval(hours => keep_hours)
          ORDER BY stored_at LIMIT most FOR UPDATE SKIP LOCKED
        );
        GET DIAGNOSTICS forgotten = ROW_COUNT;
        RETURN forgotten;
      END
    $$`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION forget_deduplication_keys(int, int)`);
    await runner.query(`DROP TABLE deduplication_keys`);
  }
}
