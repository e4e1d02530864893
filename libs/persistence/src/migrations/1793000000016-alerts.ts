import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Alerts, and the batches in which a verification found differences. Both are the API's alone. */
export class Alerts1793000000016 implements MigrationInterface {
  name = 'Alerts1793000000016';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [...tables, ...grants]) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE alerts, differing_batches`);
  }
}

const tables = [
  `CREATE TABLE alerts (
    alert_id        uuid NOT NULL,
    kind            varchar(40) NOT NULL,
    subject         text NOT NULL,
    severity        varchar(10) NOT NULL,
    summary         text NOT NULL,
    details         jsonb NOT NULL,
    path            text NOT NULL,
    opened_at       timestamptz(3) NOT NULL DEFAULT now(),
    last_seen_at    timestamptz(3) NOT NULL DEFAULT now(),
    resolved_at     timestamptz(3),
    level           int NOT NULL,
    notified_level  int NOT NULL DEFAULT 0,
    notified_at     timestamptz(3),
    notices         int NOT NULL DEFAULT 0,
    attempts        int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz(3) DEFAULT now(),
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id)
  ) WITH (fillfactor = 70)`,
  // Of the API's processes that see the same condition one opens the alert, the others find it open.
  `CREATE UNIQUE INDEX idx_alerts_open ON alerts (kind, subject) WHERE resolved_at IS NULL`,
  `CREATE INDEX idx_alerts_opened_at ON alerts (opened_at DESC, alert_id DESC)`,
  `CREATE INDEX idx_alerts_next_attempt_at ON alerts (next_attempt_at) WHERE next_attempt_at IS NOT NULL`,
  `CREATE TABLE differing_batches (
    batch_id uuid NOT NULL,
    found_at timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT differing_batches_pkey PRIMARY KEY (batch_id),
    CONSTRAINT fk_batch FOREIGN KEY (batch_id) REFERENCES batches (batch_id) ON DELETE CASCADE
  )`,
];

const grants = [
  `GRANT SELECT, INSERT, DELETE ON alerts, differing_batches TO tallystick_api`,
  // Not its kind, subject and times of beginning: what an alert was about does not change.
  `GRANT UPDATE (severity, summary, details, path, last_seen_at, resolved_at, level, notified_level, notified_at, notices, attempts, next_attempt_at)
    ON alerts TO tallystick_api`,
];
