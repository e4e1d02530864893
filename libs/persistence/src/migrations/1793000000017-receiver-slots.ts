import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Client ids that bridges of a shared subscription claim for themselves. */
export class ReceiverSlots1793000000017 implements MigrationInterface {
  name = 'ReceiverSlots1793000000017';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE receiver_slots (
      slot_group varchar(95) NOT NULL,
      slot       int NOT NULL,
      held_at    timestamptz(3) NOT NULL DEFAULT now(),
      drained_at timestamptz(3),
      CONSTRAINT receiver_slots_pkey PRIMARY KEY (slot_group, slot),
      CONSTRAINT chk_slot CHECK (slot BETWEEN 1 AND 1000)
    )`);
    await runner.query(`GRANT SELECT, INSERT, UPDATE ON receiver_slots TO tallystick_ingest`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE receiver_slots`);
  }
}
