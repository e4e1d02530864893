import type { MigrationInterface, QueryRunner } from 'typeorm';

const DEFINER_TRIGGERS = ['count_quarantined_bytes()', 'count_events()', 'count_session_ends()'];

/**
 * Nobody but the owner may hang up a trigger that lends the owner's rights. To fire one needs no right; to make one of it on a table of
 * one's own does, and by default everybody has that: the rows of a temporary table were then counted as ours, and a cast of a type of
 * the caller's own ran as the owner.
 */
export class DefinerTriggers1793000000014 implements MigrationInterface {
  name = 'DefinerTriggers1793000000014';

  async up(runner: QueryRunner): Promise<void> {
    for (const signature of DEFINER_TRIGGERS) await runner.query(`REVOKE EXECUTE ON FUNCTION ${signature} FROM PUBLIC`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const signature of DEFINER_TRIGGERS) await runner.query(`GRANT EXECUTE ON FUNCTION ${signature} TO PUBLIC`);
  }
}
