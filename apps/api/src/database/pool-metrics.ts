import type { Metrics } from '@tallystick/observability';
import type { Pool } from 'pg';

/** What the pool of connections is doing, as it is when Prometheus asks; `pool` has none before the database was reached. */
export function addPoolMetrics(metrics: Metrics, pool: () => Pool | undefined): void {
  metrics.gauge({
    name: 'database_pool_connections',
    help: 'Open connections to PostgreSQL.',
    labels: { state: ['in_use', 'idle'] },
    collect: (gauge) => {
      const { totalCount = 0, idleCount = 0 } = pool() ?? {};
      gauge.set({ state: 'in_use' }, totalCount - idleCount);
      gauge.set({ state: 'idle' }, idleCount);
    },
  });
  metrics.gauge({
    name: 'database_pool_waiting_requests',
    help: 'Requests that wait for a connection because all are in use.',
    collect: (gauge) => gauge.set(pool()?.waitingCount ?? 0),
  });
}
