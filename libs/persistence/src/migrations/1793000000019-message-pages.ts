import type { MigrationInterface, QueryRunner } from 'typeorm';
import { replaceMessagesContaining } from './parts/messages-containing.js';

/** What a page of messages is read by (ADR 0036). */
export class MessagePages1793000000019 implements MigrationInterface {
  name = 'MessagePages1793000000019';

  async up(runner: QueryRunner): Promise<void> {
    // A tenant's messages in their order, and those of one site among them without a look at the others' rows.
    await runner.query(`CREATE INDEX idx_messages_tenant ON messages (tenant_id, message_id, site_id)`);
    // A search for what is rare finds that out from a few of the newest.
    await replaceMessagesContaining(runner, [100, 1000]);
    await runner.query(jsonText);
    await runner.query(`REVOKE EXECUTE ON FUNCTION json_text(bytea) FROM PUBLIC`);
    await runner.query(`GRANT EXECUTE ON FUNCTION json_text(bytea) TO tallystick_api`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION json_text(bytea)`);
    await replaceMessagesContaining(runner, [1000]);
    await runner.query(`DROP INDEX idx_messages_tenant`);
  }
}

// The bytes as text when they are JSON in UTF-8; NULL for all others, also for what nests deeper than PostgreSQL's stack: bytes that were
// altered in the table must not make a page unreadable. PARALLEL UNSAFE, as it is unless told: before version 17 no exception is caught in
// a parallel plan.
const jsonText = `
CREATE FUNCTION json_text(bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  RETURN convert_from(bytes, 'UTF8')::json;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$$`;
