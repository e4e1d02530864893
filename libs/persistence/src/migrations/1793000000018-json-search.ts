import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A search in payloads that takes as long as what it finds. How many rows contain a JSON is guessed by PostgreSQL, at 1 % of wide ones
 * whatever is asked for; by that guess it looked for a rare one through all messages of a day.
 */
export class JsonSearch1793000000018 implements MigrationInterface {
  name = 'JsonSearch1793000000018';

  async up(runner: QueryRunner): Promise<void> {
    await replaceMessagesContaining(runner, SEARCH, SETTINGS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await replaceMessagesContaining(runner, `BEGIN ${PLATFORM_ONLY} ${AS_PLANNED} END`);
  }
}

/** The rights to call it stay as they are (migration 13, which also says why it is SECURITY DEFINER, and asks first). */
async function replaceMessagesContaining(runner: QueryRunner, body: string, settings = ''): Promise<void> {
  await runner.query(`CREATE OR REPLACE FUNCTION
    messages_containing(contained jsonb, from_id uuid, before_id uuid, of_tenant text, of_site text, most int)
    RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT ${settings} AS $$ ${body} $$`);
  // Replacing a function gives it the caller's search_path; ours names pg_temp last (migration 7).
  await runner.query(`DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION messages_containing(jsonb, uuid, uuid, text, text, int) SET search_path TO %I, pg_temp', current_schema());
  END $$`);
}

/** As many of the newest messages are looked at one by one. */
const NEWEST = 1000;
/** At most so many matches are fetched by the JSON index. */
const FETCHED = 1000;

// A setting that is named here is the caller's again when the function ends, in whatever way. Compiling (jit) is for plans that cost
// much, and so seems one that has to take what it was told to avoid.
const SETTINGS = 'SET enable_seqscan = on SET enable_indexscan = on SET jit = off';

const PLATFORM_ONLY = `
  IF current_setting('app.platform', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION 'only whoever sees all tenants may search all of them' USING ERRCODE = 'insufficient_privilege';
  END IF;`;

const WITHIN = '($2 IS NULL OR message_id >= $2) AND ($3 IS NULL OR message_id < $3)';
const MATCHING = 'raw_data @> $1 AND ($4 IS NULL OR tenant_id = $4) AND ($5 IS NULL OR site_id = $5)';
const VALUES = 'contained, from_id, before_id, of_tenant, of_site, most';

const AS_PLANNED = `
  RETURN QUERY EXECUTE
    'SELECT message_id FROM messages WHERE ${WITHIN} AND ${MATCHING} ORDER BY message_id DESC LIMIT $6'
    USING ${VALUES};`;

// What is frequent fills the page from the newest messages. It is tried first, because the index is read to the end of all its matches
// before the first is known: 22 ms instead of 1 for what 200,000 messages of a day contain. What is rare comes from the index: with the
// other scans off only bitmaps are left, that of the JSON index in each partition that has one, and fewer than FETCHED are all there
// are. Whatever is neither is left to the planner.
const SEARCH = `DECLARE
  matches uuid[];
BEGIN ${PLATFORM_ONLY}
  EXECUTE
    'SELECT array(
       SELECT message_id FROM (SELECT * FROM messages WHERE ${WITHIN} ORDER BY message_id DESC LIMIT ${NEWEST}) newest
       WHERE ${MATCHING} LIMIT $6)'
    INTO matches USING ${VALUES};
  IF cardinality(matches) < most THEN
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true);
    EXECUTE 'SELECT array(SELECT message_id FROM messages WHERE ${WITHIN} AND ${MATCHING} LIMIT ${FETCHED})'
      INTO matches USING ${VALUES};
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'on', true);
    IF cardinality(matches) = ${FETCHED} THEN ${AS_PLANNED}
      RETURN;
    END IF;
  END IF;
  RETURN QUERY SELECT match FROM unnest(matches) match ORDER BY match DESC LIMIT most;
END`;
