import type { MigrationInterface, QueryRunner } from 'typeorm';

const DEFINER_FUNCTIONS = [
  'ensure_partitions(timestamptz, timestamptz, boolean)',
  'ensure_history_partitions(timestamptz, timestamptz)',
  'count_quarantined_bytes()',
  'trim_quarantine(bigint, interval)',
  'forget_deduplication_keys(int, int)',
];

/**
 * The functions that lend their owner's rights look for tables in our schema only. A path that does not name pg_temp has it in front:
 * a caller's temporary table of the right name took the place of ours, and its triggers ran with the rights of the owner.
 */
export class DefinerSearchPath1793000000007 implements MigrationInterface {
  name = 'DefinerSearchPath1793000000007';

  async up(runner: QueryRunner): Promise<void> {
    for (const signature of DEFINER_FUNCTIONS) {
      await runner.query(`DO $$ BEGIN
        EXECUTE format('ALTER FUNCTION ${signature} SET search_path TO %I, pg_temp', current_schema());
      END $$`);
    }
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const signature of DEFINER_FUNCTIONS) await runner.query(`ALTER FUNCTION ${signature} SET search_path FROM CURRENT`);
  }
}
