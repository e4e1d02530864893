import type { MigrationInterface, QueryRunner } from 'typeorm';

/** devices, batches, messages (partitioned by day) and the quarantine. */
export class Telemetry1793000000000 implements MigrationInterface {
  name = 'Telemetry1793000000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [...tables, ...partitions, ...guards]) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE rejected_messages, messages, batches, devices`);
    await runner.query(`DROP FUNCTION ensure_partitions(timestamptz, timestamptz, boolean)`);
    await runner.query(`DROP FUNCTION uuidv7_floor(timestamptz)`);
    await runner.query(`DROP FUNCTION refuse_change_of_sealed_batch()`);
    await runner.query(`DROP FUNCTION refuse_delete_of_logged_batch()`);
  }
}

const tables = [
  `CREATE TABLE devices (
    tenant_id        varchar(100) NOT NULL,
    device_id        varchar(100) NOT NULL,
    site_id          varchar(100) NOT NULL,
    last_seen        timestamptz(3),
    message_count    bigint NOT NULL DEFAULT 0,
    public_key       varchar(88),
    firmware_version varchar(50),
    created_at       timestamptz(3) NOT NULL DEFAULT now(),
    updated_at       timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT devices_pkey PRIMARY KEY (tenant_id, device_id)
  ) WITH (fillfactor = 70)`,
  `CREATE INDEX idx_devices_tenant_site ON devices (tenant_id, site_id)`,
  `CREATE INDEX idx_devices_last_seen ON devices (last_seen DESC)`,

  `CREATE TABLE batches (
    batch_id            uuid NOT NULL,
    tenant_id           varchar(100) NOT NULL,
    batch_hash          varchar(64) NOT NULL,
    message_count       int NOT NULL,
    start_timestamp     timestamptz(3) NOT NULL,
    end_timestamp       timestamptz(3) NOT NULL,
    status              varchar(20) NOT NULL DEFAULT 'pending',
    solana_tx_signature varchar(88),
    solana_block_number bigint,
    created_at          timestamptz(3) NOT NULL DEFAULT now(),
    confirmed_at        timestamptz(3),
    open_root           bytea NOT NULL,
    sealed_at           timestamptz(3),
    receiver            varchar(100) NOT NULL,
    close_reason        varchar(20),
    leaf_hashes         bytea,
    log_index           bigint,
    CONSTRAINT batches_pkey PRIMARY KEY (batch_id),
    CONSTRAINT check_message_count CHECK (message_count > 0),
    CONSTRAINT check_timestamps CHECK (end_timestamp >= start_timestamp),
    CONSTRAINT check_status CHECK (status IN ('pending', 'hashing', 'complete', 'failed', 'blockchain_pending', 'blockchain_confirmed')),
    CONSTRAINT check_close_reason CHECK (close_reason IN ('size', 'bytes', 'age', 'shutdown', 'recovery'))
  ) WITH (fillfactor = 50)`,
  `ALTER TABLE batches ALTER COLUMN leaf_hashes SET STORAGE EXTERNAL`,
  `CREATE INDEX idx_batches_status ON batches (status)`,
  `CREATE INDEX idx_batches_created_at ON batches (created_at DESC)`,
  `CREATE INDEX idx_batches_hash ON batches (batch_hash)`,
  `CREATE INDEX idx_batches_tenant_created_at ON batches (tenant_id, created_at DESC)`,
  `CREATE INDEX idx_batches_receiver_created_at ON batches (receiver, created_at DESC)`,
  `CREATE INDEX idx_batches_unlogged ON batches (created_at) WHERE status = 'complete' AND log_index IS NULL`,
  `CREATE UNIQUE INDEX batches_log_index_key ON batches (log_index)`,

  `CREATE TABLE messages (
    message_id       uuid NOT NULL,
    batch_id         uuid NOT NULL,
    leaf_index       int NOT NULL,
    tenant_id        varchar(100) NOT NULL,
    site_id          varchar(100) NOT NULL,
    device_id        varchar(100) NOT NULL,
    topic            varchar(255) NOT NULL,
    message_hash     varchar(64) NOT NULL,
    raw_data         jsonb,
    raw_data_error   text,
    payload          bytea NOT NULL,
    payload_size     int NOT NULL,
    nonce            bytea NOT NULL,
    received_at      timestamptz(3) NOT NULL,
    processed_at     timestamptz(3) NOT NULL DEFAULT now(),
    device_timestamp timestamptz(3),
    device_seq       bigint,
    device_signature varchar(88),
    qos              smallint NOT NULL,
    retained         boolean NOT NULL,
    packet_id        int,
    CONSTRAINT messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT fk_batch FOREIGN KEY (batch_id) REFERENCES batches (batch_id) ON DELETE CASCADE,
    CONSTRAINT fk_device FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, device_id)
  ) PARTITION BY RANGE (message_id)`,
  `CREATE INDEX idx_messages_device_id ON messages (tenant_id, device_id, received_at DESC)`,
  `CREATE INDEX idx_messages_received_at ON messages USING brin (received_at)`,
  `CREATE INDEX idx_messages_hash ON messages (message_hash)`,

  `CREATE TABLE rejected_messages (
    rejection_id uuid NOT NULL,
    received_at  timestamptz(3) NOT NULL,
    tenant_id    varchar(100),
    topic        text NOT NULL,
    payload      bytea NOT NULL,
    truncated    boolean NOT NULL DEFAULT false,
    payload_size int NOT NULL,
    payload_hash varchar(64) NOT NULL,
    reason       varchar(40) NOT NULL,
    detail       text,
    receiver     varchar(100) NOT NULL,
    qos          smallint NOT NULL,
    packet_id    int,
    status       varchar(20) NOT NULL DEFAULT 'new',
    resolved_at  timestamptz(3),
    CONSTRAINT rejected_messages_pkey PRIMARY KEY (rejection_id),
    CONSTRAINT check_rejection_status CHECK (status IN ('new', 'replay_requested', 'replayed', 'discarded'))
  )`,
  `CREATE INDEX idx_rejected_messages_received_at ON rejected_messages (received_at DESC, rejection_id DESC)`,
];

const partitions = [
  // The smallest UUIDv7 of a millisecond: RFC 9562 section 5.7 puts the 48-bit Unix time in front.
  `CREATE FUNCTION uuidv7_floor(ts timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM ts) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
  $$`,

  // Makes the missing day partitions of [from_ts, to_ts] and returns their names. Any writer may call it at any time.
  // SECURITY DEFINER: a writer has no CREATE right. ATTACH instead of PARTITION OF: readers of messages are not blocked.
  // The lock is one that attaching needs anyway, taken in the order in which a commit takes it, so that the two never deadlock;
  // it also makes callers wait for each other, and then the name is looked up again.
  `CREATE FUNCTION ensure_partitions(from_ts timestamptz, to_ts timestamptz, json_index boolean DEFAULT true)
  RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  DECLARE
    lower_ts timestamptz := date_trunc('day', from_ts, 'UTC');
    upper_ts timestamptz;
    partition text;
  BEGIN
    IF to_ts - from_ts > interval '400 days' THEN
      RAISE EXCEPTION 'ensure_partitions: a span of % is too long', to_ts - from_ts USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WHILE lower_ts <= to_ts LOOP
      upper_ts := lower_ts + interval '24 hours';
      partition := 'messages_' || to_char(lower_ts AT TIME ZONE 'UTC', 'YYYYMMDD');
      IF to_regclass(quote_ident(partition)) IS NULL THEN
        LOCK TABLE devices, batches IN SHARE ROW EXCLUSIVE MODE;
        IF to_regclass(quote_ident(partition)) IS NULL THEN
          EXECUTE format('CREATE TABLE %I (LIKE messages INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', partition);
          EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (received_at >= %L AND received_at < %L)',
                         partition, partition || '_received_at', lower_ts, upper_ts);
          EXECUTE format('CREATE UNIQUE INDEX %I ON %I (batch_id, leaf_index)', partition || '_batch_leaf', partition);
          IF json_index THEN
            EXECUTE format('CREATE INDEX %I ON %I USING gin (raw_data jsonb_path_ops)', partition || '_raw_data', partition);
          END IF;
          EXECUTE format('ALTER TABLE messages ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                         partition, uuidv7_floor(lower_ts), uuidv7_floor(upper_ts));
          RETURN NEXT partition;
        END IF;
      END IF;
      lower_ts := upper_ts;
    END LOOP;
  END
  $$`,
];

const guards = [
  // Once sealed, only what the log and the anchors add may change.
  `CREATE FUNCTION refuse_change_of_sealed_batch() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF (NEW.batch_id, NEW.tenant_id, NEW.batch_hash, NEW.message_count, NEW.start_timestamp, NEW.end_timestamp, NEW.created_at,
        NEW.open_root, NEW.sealed_at, NEW.receiver, NEW.close_reason, NEW.leaf_hashes)
       IS DISTINCT FROM
       (OLD.batch_id, OLD.tenant_id, OLD.batch_hash, OLD.message_count, OLD.start_timestamp, OLD.end_timestamp, OLD.created_at,
        OLD.open_root, OLD.sealed_at, OLD.receiver, OLD.close_reason, OLD.leaf_hashes)
       OR NEW.status IN ('pending', 'hashing') THEN
      RAISE EXCEPTION 'batch % is sealed and cannot be changed', OLD.batch_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END
  $$`,
  `CREATE TRIGGER batches_sealed_are_final BEFORE UPDATE ON batches
    FOR EACH ROW WHEN (OLD.status NOT IN ('pending', 'hashing')) EXECUTE FUNCTION refuse_change_of_sealed_batch()`,
  `CREATE FUNCTION refuse_delete_of_logged_batch() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    RAISE EXCEPTION 'batch % is in the log and cannot be deleted', OLD.batch_id USING ERRCODE = 'restrict_violation';
  END
  $$`,
  `CREATE TRIGGER batches_logged_are_kept BEFORE DELETE ON batches
    FOR EACH ROW WHEN (OLD.log_index IS NOT NULL) EXECUTE FUNCTION refuse_delete_of_logged_batch()`,
];
