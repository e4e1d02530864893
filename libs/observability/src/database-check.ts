import { assertSchema, type DatabaseConnection } from '@tallystick/persistence';
import type { CheckResult, ReadinessCheck } from './readiness.js';

/** Ready when PostgreSQL answers now and has every migration of this version. */
export function databaseCheck(connection: Pick<DatabaseConnection, 'problem' | 'dataSource'>): ReadinessCheck {
  return {
    name: 'database',
    check: async (): Promise<CheckResult> => {
      if (connection.problem !== undefined) return { ready: false, reason: connection.problem };
      await assertSchema(connection.dataSource);
      return { ready: true };
    },
  };
}
