import type { MigrationInterface, QueryRunner } from 'typeorm';
import { replaceEnsurePartitions } from './parts/ensure-partitions.js';

/**
 * Kilobytes of new entries that the JSON index of a partition gathers before a commit sorts them in. With PostgreSQL's 4 MB that
 * commit took half a second, and everything behind it waited (ADR 0024).
 */
const PENDING_LIST_KB = 1024;

export class JsonIndexPendingList1793000000008 implements MigrationInterface {
  name = 'JsonIndexPendingList1793000000008';

  async up(runner: QueryRunner): Promise<void> {
    await replaceEnsurePartitions(runner, { jsonIndexParameters: `WITH (gin_pending_list_limit = ${PENDING_LIST_KB})` });
    await runner.query(ofEveryJsonIndex(`SET (gin_pending_list_limit = ${PENDING_LIST_KB})`));
  }

  async down(runner: QueryRunner): Promise<void> {
    await replaceEnsurePartitions(runner, {});
    await runner.query(ofEveryJsonIndex(`RESET (gin_pending_list_limit)`));
  }
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
