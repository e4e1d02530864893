import type { MigrationInterface, QueryRunner } from 'typeorm';
import { JsonSearch1793000000018 } from './1793000000018-json-search.js';

/** What a page of messages is read by (ADR 0036). */
export class MessagePages1793000000019 implements MigrationInterface {
  name = 'MessagePages1793000000019';

  async up(runner: QueryRunner): Promise<void> {
    // A tenant's messages in their order, and those of one site among them without a look at the others' rows.
    await runner.query(`CREATE INDEX idx_messages_tenant ON messages (tenant_id, message_id, site_id)`);
    // A search for what is rare finds that out from a few of the newest.
    await runner.query(messagesContaining);
    // Replacing a function gives it the caller's search_path; ours names pg_temp last (migration 7).
    await runner.query(`DO $$ BEGIN
      EXECUTE format('ALTER FUNCTION messages_containing(jsonb, uuid, uuid, text, text, int) SET search_path TO %I, pg_temp', current_schema());
    END $$`);
    await runner.query(jsonText);
    await runner.query(`REVOKE EXECUTE ON FUNCTION json_text(bytea) FROM PUBLIC`);
    await runner.query(`GRANT EXECUTE ON FUNCTION json_text(bytea) TO tallystick_api`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION json_text(bytea)`);
    await new JsonSearch1793000000018().up(runner);
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

/** So many of the newest messages are looked at one by one, and more of them when one of 20 matches: those are likely to fill a page. */
const NEWEST = [100, 1000];
const FREQUENT = 20;
/** At most so many matches are fetched by the JSON index. */
const FETCHED = 1000;

const WITHIN = '($2 IS NULL OR message_id >= $2) AND ($3 IS NULL OR message_id < $3)';
const MATCHING = 'raw_data @> $1 AND ($4 IS NULL OR tenant_id = $4) AND ($5 IS NULL OR site_id = $5)';
const VALUES = 'contained, from_id, before_id, of_tenant, of_site, most';

// As migration 18 made it, and why it is so is said there; but what is rare is known from fewer of the newest.
const messagesContaining = `
CREATE OR REPLACE FUNCTION
  messages_containing(contained jsonb, from_id uuid, before_id uuid, of_tenant text, of_site text, most int)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = on SET enable_indexscan = on SET jit = off AS $$
DECLARE
  matches uuid[];
  looked_at int;
BEGIN
  IF current_setting('app.platform', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION 'only whoever sees all tenants may search all of them' USING ERRCODE = 'insufficient_privilege';
  END IF;
  FOREACH looked_at IN ARRAY ARRAY[${NEWEST.join()}] LOOP
    EXECUTE
      'SELECT array(
         SELECT message_id FROM (SELECT * FROM messages WHERE ${WITHIN} ORDER BY message_id DESC LIMIT $7) newest
         WHERE ${MATCHING} LIMIT $6)'
      INTO matches USING ${VALUES}, looked_at;
    EXIT WHEN cardinality(matches) >= most OR cardinality(matches) * ${FREQUENT} < looked_at;
  END LOOP;
  IF cardinality(matches) < most THEN
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true);
    EXECUTE 'SELECT array(SELECT message_id FROM messages WHERE ${WITHIN} AND ${MATCHING} LIMIT ${FETCHED})'
      INTO matches USING ${VALUES};
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'on', true);
    IF cardinality(matches) = ${FETCHED} THEN
      RETURN QUERY EXECUTE
        'SELECT message_id FROM messages WHERE ${WITHIN} AND ${MATCHING} ORDER BY message_id DESC LIMIT $6'
        USING ${VALUES};
      RETURN;
    END IF;
  END IF;
  RETURN QUERY SELECT match FROM unnest(matches) match ORDER BY match DESC LIMIT most;
END
$$`;
