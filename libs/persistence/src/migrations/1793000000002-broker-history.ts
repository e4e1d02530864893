import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What a broker says about itself, as history: metrics and events (both partitioned by day), clients, sessions, subscriptions. */
export class BrokerHistory1793000000002 implements MigrationInterface {
  name = 'BrokerHistory1793000000002';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [...series, ...state, partitions]) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION ensure_history_partitions(timestamptz, timestamptz)`);
    await runner.query(`DROP TABLE broker_state, observation_gaps, subscriptions, sessions, clients, events, broker_metrics`);
  }
}

const series = [
  `CREATE TABLE broker_metrics (
    id     bigserial NOT NULL,
    broker varchar(100) NOT NULL,
    metric text NOT NULL,
    value  double precision NOT NULL,
    ts     timestamptz(3) NOT NULL,
    CONSTRAINT broker_metrics_pkey PRIMARY KEY (id, ts)
  ) PARTITION BY RANGE (ts)`,
  `CREATE INDEX idx_broker_metrics_metric_ts ON broker_metrics (broker, metric, ts DESC)`,

  // No foreign keys: a line may name what we never saw.
  `CREATE TABLE events (
    id          bigserial NOT NULL,
    broker      varchar(100) NOT NULL,
    ts          timestamptz(3) NOT NULL,
    action      varchar(20) NOT NULL,
    client      text,
    topic       text,
    qos         smallint,
    username    text,
    raw         text,
    received_at timestamptz(3) NOT NULL,
    address     text,
    port        int,
    reason      text,
    truncated   boolean NOT NULL DEFAULT false,
    packet_id   int,
    line_count  int NOT NULL DEFAULT 1,
    CONSTRAINT events_pkey PRIMARY KEY (id, received_at),
    CONSTRAINT check_event_action
      CHECK (action IN ('connected', 'disconnected', 'subscribe', 'unsubscribe', 'checkpoint', 'conn_info', 'unknown'))
  ) PARTITION BY RANGE (received_at)`,
  `CREATE INDEX idx_events_ts ON events (broker, ts DESC, id DESC)`,
  `CREATE INDEX idx_events_action_ts ON events (broker, action, ts)`,
  `CREATE INDEX idx_events_client_ts ON events (broker, client, ts DESC)`,
];

const state = [
  `CREATE TABLE clients (
    id         bigserial NOT NULL,
    broker     varchar(100) NOT NULL,
    client     text NOT NULL,
    username   text,
    first_seen timestamptz(3),
    last_seen  timestamptz(3),
    CONSTRAINT clients_pkey PRIMARY KEY (id)
  ) WITH (fillfactor = 80)`,
  `CREATE UNIQUE INDEX clients_client_unique ON clients (broker, client)`,

  `CREATE TABLE sessions (
    id               bigserial NOT NULL,
    broker           varchar(100) NOT NULL,
    client_id        bigint,
    client           text NOT NULL,
    username         text,
    start_ts         timestamptz(3) NOT NULL,
    end_ts           timestamptz(3),
    address          text,
    port             int,
    protocol_version smallint,
    clean_start      boolean,
    keepalive        int,
    end_reason       varchar(20),
    ended_by         varchar(10),
    start_uncertain  boolean NOT NULL DEFAULT false,
    end_uncertain    boolean NOT NULL DEFAULT false,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT fk_session_client FOREIGN KEY (client_id) REFERENCES clients (id) ON DELETE SET NULL,
    CONSTRAINT check_session_end CHECK (end_ts >= start_ts),
    CONSTRAINT check_ended_by CHECK (ended_by IN ('client', 'broker', 'network', 'unknown'))
  ) WITH (fillfactor = 80)`,
  `CREATE INDEX sessions_client_ts_idx ON sessions (broker, client, start_ts)`,
  // A broker has at most one connection under an id.
  `CREATE UNIQUE INDEX sessions_open_key ON sessions (broker, client) WHERE end_ts IS NULL`,

  `CREATE TABLE subscriptions (
    id         bigserial NOT NULL,
    broker     varchar(100) NOT NULL,
    session_id bigint,
    client     text NOT NULL,
    topic      text NOT NULL,
    qos        smallint NOT NULL DEFAULT 0,
    active     boolean NOT NULL DEFAULT true,
    uncertain  boolean NOT NULL DEFAULT false,
    created_at timestamptz(3),
    updated_at timestamptz(3),
    CONSTRAINT subscriptions_pkey PRIMARY KEY (id),
    CONSTRAINT fk_subscription_session FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE SET NULL
  ) WITH (fillfactor = 80)`,
  `CREATE UNIQUE INDEX subscriptions_client_topic_idx ON subscriptions (broker, client, topic)`,
  `CREATE INDEX idx_subscriptions_session ON subscriptions (session_id)`,
  `CREATE INDEX idx_subscriptions_active_topic ON subscriptions (broker, topic) WHERE active`,

  `CREATE TABLE observation_gaps (
    id      bigserial NOT NULL,
    broker  varchar(100) NOT NULL,
    from_ts timestamptz(3) NOT NULL,
    to_ts   timestamptz(3) NOT NULL,
    reason  varchar(20) NOT NULL,
    CONSTRAINT observation_gaps_pkey PRIMARY KEY (id),
    CONSTRAINT check_gap_reason CHECK (reason IN ('watcher_down', 'broker_down', 'log_expired', 'queue_overflow')),
    CONSTRAINT check_gap_span CHECK (to_ts >= from_ts)
  )`,
  `CREATE INDEX idx_observation_gaps_from ON observation_gaps (broker, from_ts)`,

  `CREATE TABLE broker_state (
    broker        varchar(100) NOT NULL,
    version       text,
    started_at    timestamptz(3),
    last_uptime   bigint,
    uptime_at     timestamptz(3),
    watched_until timestamptz(3),
    watcher       varchar(100),
    capabilities  jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT broker_state_pkey PRIMARY KEY (broker)
  ) WITH (fillfactor = 50)`,
];

// Makes the missing day partitions of events and broker_metrics for [from_ts, to_ts] and returns their names; any writer may call
// it at any time. SECURITY DEFINER: a writer has no CREATE right. ATTACH instead of PARTITION OF: readers are not blocked.
const partitions = `CREATE FUNCTION ensure_history_partitions(from_ts timestamptz, to_ts timestamptz)
  RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  DECLARE
    lower_ts timestamptz := date_trunc('day', from_ts, 'UTC');
    parent text;
    partition text;
  BEGIN
    IF to_ts - from_ts > interval '400 days' THEN
      RAISE EXCEPTION 'ensure_history_partitions: a span of % is too long', to_ts - from_ts USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Callers wait for each other, and then look again.
    PERFORM pg_advisory_xact_lock(hashtextextended('tallystick.history_partitions', 0));
    WHILE lower_ts <= to_ts LOOP
      FOREACH parent IN ARRAY ARRAY['broker_metrics', 'events'] LOOP
        partition := parent || '_' || to_char(lower_ts AT TIME ZONE 'UTC', 'YYYYMMDD');
        IF to_regclass(quote_ident(partition)) IS NULL THEN
          EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', partition, parent);
          EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                         parent, partition, lower_ts, lower_ts + interval '24 hours');
          RETURN NEXT partition;
        END IF;
      END LOOP;
      lower_ts := lower_ts + interval '24 hours';
    END LOOP;
  END
  $$`;
