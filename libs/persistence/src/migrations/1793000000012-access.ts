import type { MigrationInterface, QueryRunner } from 'typeorm';
import { replaceEnsurePartitions } from './parts/ensure-partitions.js';

/** Roles of the services. They cannot log in by themselves: each service's login is made a member, or given LOGIN and a password. */
const ROLES = ['tallystick_ingest', 'tallystick_watcher', 'tallystick_api'];

const PENDING_LIST = { jsonIndexParameters: 'WITH (gin_pending_list_limit = 1024)' };

/** API keys, sessions and the audit log; a database role for each service, and rows that are seen by their tenant only. */
export class Access1793000000012 implements MigrationInterface {
  name = 'Access1793000000012';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of tables) await runner.query(statement);
    await runner.query(makeRoles);
    for (const statement of [...withdrawals, ...grants, ...rowSecurity]) await runner.query(statement);
    await replaceEnsurePartitions(runner, { ...PENDING_LIST, withPartition: 'GRANT SELECT, INSERT ON %I TO tallystick_ingest' });
    await runner.query(ofEveryPartition('GRANT SELECT, INSERT ON %s TO tallystick_ingest'));
  }

  async down(runner: QueryRunner): Promise<void> {
    await replaceEnsurePartitions(runner, PENDING_LIST);
    for (const table of TENANT_TABLES) {
      await runner.query(`DROP POLICY api_reads ON ${table}`);
      await runner.query(`DROP POLICY ingest ON ${table}`);
      await runner.query(`ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`);
    }
    // The roles stay: other databases of this server may use them.
    await runner.query(`DO $$ BEGIN
      EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %1$I FROM ${ROLES.join(', ')}', current_schema());
      EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %1$I FROM ${ROLES.join(', ')}', current_schema());
      EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %1$I FROM ${ROLES.join(', ')}', current_schema());
      EXECUTE format('REVOKE ALL ON SCHEMA %1$I FROM ${ROLES.join(', ')}', current_schema());
    END $$`);
    for (const signature of FUNCTIONS.flatMap(({ signatures }) => signatures)) {
      await runner.query(`GRANT EXECUTE ON FUNCTION ${signature} TO PUBLIC`);
    }
    await runner.query(`DROP TABLE web_sessions, setup_tokens, api_keys, audit_log`);
    await runner.query(`DROP FUNCTION refuse_change_of_audit_log()`);
  }
}

const tables = [
  `CREATE TABLE api_keys (
    key_id       varchar(12) NOT NULL,
    kind         varchar(10) NOT NULL,
    tenant_id    varchar(100),
    scopes       text[] NOT NULL,
    secret_hash  bytea NOT NULL,
    label        varchar(100) NOT NULL,
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    expires_at   timestamptz(3),
    last_used_at timestamptz(3),
    revoked_at   timestamptz(3),
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT check_kind CHECK (kind IN ('tenant', 'platform') AND (kind = 'tenant') = (tenant_id IS NOT NULL)),
    CONSTRAINT check_secret_hash CHECK (octet_length(secret_hash) = 32)
  )`,
  `CREATE INDEX idx_api_keys_created_at ON api_keys (created_at DESC, key_id DESC)`,
  // Of the dashboard: a session ends with the key that opened it.
  `CREATE TABLE web_sessions (
    session_hash bytea NOT NULL,
    key_id       varchar(12) NOT NULL,
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    last_seen_at timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT web_sessions_pkey PRIMARY KEY (session_hash),
    CONSTRAINT fk_key FOREIGN KEY (key_id) REFERENCES api_keys (key_id)
  )`,
  `CREATE TABLE setup_tokens (
    token_hash bytea NOT NULL,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    expires_at timestamptz(3) NOT NULL,
    used_at    timestamptz(3),
    CONSTRAINT setup_tokens_pkey PRIMARY KEY (token_hash)
  )`,
  `CREATE TABLE audit_log (
    entry_id   bigserial NOT NULL,
    at         timestamptz(3) NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    action     varchar(40) NOT NULL,
    object     text,
    details    jsonb,
    request_id varchar(64),
    CONSTRAINT audit_log_pkey PRIMARY KEY (entry_id)
  )`,
  `CREATE INDEX idx_audit_log_at ON audit_log (at DESC, entry_id DESC)`,
  `CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to' USING ERRCODE = 'restrict_violation';
  END
  $$`,
  `CREATE TRIGGER audit_log_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()`,
];

// Roles belong to the server, not to a database: another migrator may make them at the same moment.
const makeRoles = `DO $$ DECLARE role text; BEGIN
  FOREACH role IN ARRAY ARRAY['${ROLES.join("', '")}'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role);
      EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN
          RAISE EXCEPTION 'role % is missing and % may not make it', role, current_user
            USING HINT = 'Let an administrator run docker/postgres/roles.sql on this server once, then migrate again.',
                  ERRCODE = 'insufficient_privilege';
      END;
    END IF;
  END LOOP;
END $$`;

/** Every function that is called by hand, and by whom. A function of a trigger needs no right of its caller. */
const FUNCTIONS = [
  {
    roles: 'tallystick_ingest',
    signatures: [
      'ensure_partitions(timestamptz, timestamptz, boolean)',
      'trim_quarantine(bigint, interval)',
      'forget_deduplication_keys(int, int)',
    ],
  },
  {
    roles: 'tallystick_watcher',
    signatures: ['ensure_history_partitions(timestamptz, timestamptz)', 'drop_broker_metrics_day(int)', 'trim_broker_metrics_1m(int, int)'],
  },
  {
    roles: 'tallystick_ingest, tallystick_watcher',
    signatures: ['begin_receiver_epoch(text)', 'assert_receiver_epoch(text, bigint)'],
  },
];

const withdrawals = [
  ...FUNCTIONS.flatMap(({ signatures }) => signatures.map((signature) => `REVOKE EXECUTE ON FUNCTION ${signature} FROM PUBLIC`)),
  // Up to PostgreSQL 14 everybody may make tables in public.
  `DO $$ BEGIN EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema()); END $$`,
];

const grants = [
  `DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO ${ROLES.join(', ')}', current_schema()); END $$`,
  `GRANT SELECT ON migrations TO ${ROLES.join(', ')}`,
  ...FUNCTIONS.flatMap(({ roles, signatures }) => signatures.map((signature) => `GRANT EXECUTE ON FUNCTION ${signature} TO ${roles}`)),

  // The bridge adds; of what is there it changes a device's counters and an open batch, no more. Messages go into the partitions.
  `GRANT SELECT, INSERT ON devices, batches, rejected_messages, deduplication_keys TO tallystick_ingest`,
  `GRANT SELECT ON messages TO tallystick_ingest`,
  `GRANT UPDATE (site_id, last_seen, message_count, firmware_version, updated_at) ON devices TO tallystick_ingest`,
  `GRANT UPDATE (batch_hash, message_count, start_timestamp, end_timestamp, status, open_root, sealed_at, close_reason, leaf_hashes)
    ON batches TO tallystick_ingest`,
  `GRANT SELECT, INSERT, UPDATE ON receivers TO tallystick_ingest, tallystick_watcher`,

  `GRANT SELECT, INSERT ON broker_metrics, events TO tallystick_watcher`,
  `GRANT SELECT, INSERT, UPDATE ON clients, sessions, subscriptions, observation_gaps, broker_state,
    broker_metrics_1m, broker_metrics_1h, broker_metric_roll_ups, broker_metrics_late TO tallystick_watcher`,
  `GRANT DELETE ON broker_metrics_late TO tallystick_watcher`,

  `GRANT SELECT ON devices, batches, messages, rejected_messages, quarantine_trims,
    broker_metrics, broker_metrics_1m, broker_metrics_1h, broker_metrics_late, broker_metric_roll_ups, events, event_counts, clients, sessions, session_end_counts, session_stats, subscriptions, subscription_popularity,
    observation_gaps, broker_state TO tallystick_api`,
  `GRANT SELECT, INSERT ON api_keys, audit_log TO tallystick_api`,
  `GRANT UPDATE (last_used_at, revoked_at) ON api_keys TO tallystick_api`,
  `GRANT SELECT, INSERT, DELETE ON web_sessions TO tallystick_api`,
  `GRANT UPDATE (last_seen_at) ON web_sessions TO tallystick_api`,
  `GRANT SELECT ON setup_tokens TO tallystick_api`,
  `GRANT UPDATE (used_at) ON setup_tokens TO tallystick_api`,
  `GRANT UPDATE (public_key, updated_at) ON devices TO tallystick_api`,
  `GRANT UPDATE (status, resolved_at) ON rejected_messages TO tallystick_api`,
  ...[
    ['audit_log', 'entry_id', 'tallystick_api'],
    ...['broker_metrics', 'events', 'clients', 'sessions', 'subscriptions', 'observation_gaps'].map((table) => [
      table,
      'id',
      'tallystick_watcher',
    ]),
  ].map(
    ([table, column, role]) =>
      `DO $$ BEGIN EXECUTE format('GRANT USAGE ON SEQUENCE %s TO ${role}', pg_get_serial_sequence('${table}', '${column}')); END $$`,
  ),
];

const TENANT_TABLES = ['devices', 'batches', 'messages', 'rejected_messages'];

// Not FORCE: the owner migrates, and pg_dump by it must see everything. A partition has no policy; nobody but the bridge has a right on one.
const rowSecurity = TENANT_TABLES.flatMap((table) => [
  `ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`,
  `CREATE POLICY api_reads ON ${table} TO tallystick_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '') OR current_setting('app.platform', true) = 'on')`,
  `CREATE POLICY ingest ON ${table} TO tallystick_ingest USING (true) WITH CHECK (true)`,
]);

function ofEveryPartition(statement: string): string {
  return `DO $$ DECLARE partition regclass; BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'messages'::regclass
    LOOP EXECUTE format('${statement}', partition); END LOOP;
  END $$`;
}
