import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the bridge needs to take a rejection again: to find those that are asked for, and to write down what became of them. */
export class QuarantineReplay1793000000015 implements MigrationInterface {
  name = 'QuarantineReplay1793000000015';

  async up(runner: QueryRunner): Promise<void> {
    // Without a default at first: one that changes by row would make PostgreSQL write the whole table anew. NULL: stored before.
    await runner.query(`ALTER TABLE rejected_messages ADD COLUMN replayed_as uuid, ADD COLUMN stored_txid bigint`);
    await runner.query(`ALTER TABLE rejected_messages ALTER COLUMN stored_txid SET DEFAULT txid_current()`);
    // Empty most of the time, and so looked at for next to nothing.
    await runner.query(
      `CREATE INDEX idx_rejected_messages_replay ON rejected_messages (received_at, rejection_id) WHERE status = 'replay_requested'`,
    );
    await runner.query(`GRANT UPDATE (${CHANGED_BY_REPLAY}) ON rejected_messages TO tallystick_ingest`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`REVOKE UPDATE (${CHANGED_BY_REPLAY}) ON rejected_messages FROM tallystick_ingest`);
    await runner.query(`DROP INDEX idx_rejected_messages_replay`);
    await runner.query(`ALTER TABLE rejected_messages DROP COLUMN replayed_as, DROP COLUMN stored_txid`);
  }
}

const CHANGED_BY_REPLAY = 'status, resolved_at, replayed_as, reason, detail, tenant_id';
