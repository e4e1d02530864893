import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A tenant's rejections by time, and a search in payloads that may use the JSON index. */
export class TelemetrySearches1793000000013 implements MigrationInterface {
  name = 'TelemetrySearches1793000000013';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX idx_rejected_messages_tenant ON rejected_messages (tenant_id, received_at DESC, rejection_id DESC)`);
    await runner.query(messagesContaining);
    // With pg_temp last: a table of the caller's own, named messages, must not be searched in place of ours.
    await runner.query(`DO $$ BEGIN
      EXECUTE format('ALTER FUNCTION ${SIGNATURE} SET search_path TO %I, pg_temp', current_schema());
    END $$`);
    await runner.query(`REVOKE EXECUTE ON FUNCTION ${SIGNATURE} FROM PUBLIC`);
    await runner.query(`GRANT EXECUTE ON FUNCTION ${SIGNATURE} TO tallystick_api`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION ${SIGNATURE}`);
    await runner.query(`DROP INDEX idx_rejected_messages_tenant`);
  }
}

const SIGNATURE = 'messages_containing(jsonb, uuid, uuid, text, text, int)';

// The newest messages whose payload contains a JSON, for whoever sees all tenants. A policy is checked before any condition that is not
// leakproof, and `@>` is none, so under row-level security the index of raw_data is never used. SECURITY DEFINER: the owner has no
// policy. What the policy would ask is asked here first. EXECUTE plans for the values given; a kept plan knows neither how rare the
// JSON is nor which partitions there are to look into.
const messagesContaining = `
CREATE FUNCTION messages_containing(contained jsonb, from_id uuid, before_id uuid, of_tenant text, of_site text, most int)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
  IF current_setting('app.platform', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION 'only whoever sees all tenants may search all of them' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN QUERY EXECUTE
    'SELECT message_id FROM messages
     WHERE raw_data @> $1 AND ($2 IS NULL OR message_id >= $2) AND ($3 IS NULL OR message_id < $3)
       AND ($4 IS NULL OR tenant_id = $4) AND ($5 IS NULL OR site_id = $5)
     ORDER BY message_id DESC LIMIT $6'
    USING contained, from_id, before_id, of_tenant, of_site, most;
END
$$`;
