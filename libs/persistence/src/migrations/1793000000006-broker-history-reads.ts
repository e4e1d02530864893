import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What reading the broker's history needs beyond what writing it does. */
export class BrokerHistoryReads1793000000006 implements MigrationInterface {
  name = 'BrokerHistoryReads1793000000006';

  async up(runner: QueryRunner): Promise<void> {
    // A broker's sessions, newest first; and those of a rare end without reading all others.
    await runner.query(`CREATE INDEX idx_sessions_start ON sessions (broker, start_ts DESC, id DESC)`);
    await runner.query(`CREATE INDEX idx_sessions_end_reason ON sessions (broker, end_reason, start_ts DESC, id DESC)`);
    // In order of bytes, whatever the database's own order is: only that serves the beginning of a name.
    await runner.query(`CREATE INDEX idx_clients_bytes ON clients (broker, client COLLATE "C")`);
    // All that can receive a topic other than by its plain name.
    await runner.query(
      `CREATE INDEX idx_subscriptions_wildcard ON subscriptions (broker, client, topic) WHERE active AND topic ~ '^[$]share/|[+#]'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX idx_subscriptions_wildcard, idx_clients_bytes, idx_sessions_end_reason, idx_sessions_start`);
  }
}
