import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who receives under which MQTT client id, and what its session at the broker is subscribed to: the broker does not tell. */
export class Receivers1793000000001 implements MigrationInterface {
  name = 'Receivers1793000000001';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE receivers (
      receiver   varchar(100) NOT NULL,
      filters    text[] NOT NULL DEFAULT '{}',
      epoch      bigint NOT NULL DEFAULT 0,
      updated_at timestamptz(3) NOT NULL DEFAULT now(),
      CONSTRAINT receivers_pkey PRIMARY KEY (receiver)
    )`);

    // Called first in every commit. The shared lock makes begin_receiver_epoch wait for commits under way.
    await runner.query(`CREATE FUNCTION assert_receiver_epoch(name text, own_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('tallystick.receiver.' || name, 0));
        PERFORM FROM receivers WHERE receiver = name AND epoch = own_epoch;
        IF NOT FOUND THEN
          RAISE EXCEPTION 'another process receives as % now', name USING ERRCODE = 'TS001';
        END IF;
      END
    $$`);

    // Called once by a process before it receives: when it returns, no commit of an earlier process is under way, nor will be.
    await runner.query(`CREATE FUNCTION begin_receiver_epoch(name text) RETURNS bigint LANGUAGE plpgsql AS $$
      DECLARE
        new_epoch bigint;
      BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('tallystick.receiver.' || name, 0));
        INSERT INTO receivers (receiver, epoch) VALUES (name, 1)
          ON CONFLICT (receiver) DO UPDATE SET epoch = receivers.epoch + 1, updated_at = now()
          RETURNING epoch INTO new_epoch;
        RETURN new_epoch;
      END
    $$`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION begin_receiver_epoch(text)`);
    await runner.query(`DROP FUNCTION assert_receiver_epoch(text, bigint)`);
    await runner.query(`DROP TABLE receivers`);
  }
}
