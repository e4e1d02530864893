import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Makes idx_devices_tenant_site partial, with a predicate that every row fulfils. Before a first ANALYZE the planner cannot tell a
 * lookup by key from one by tenant, and the foreign key check of `messages` kept the plan it was given: it read every device of the
 * tenant for every message. That check says nothing of `site_id`, so it cannot use this index any more; a search by site can.
 */
export class DeviceLookups1793000000005 implements MigrationInterface {
  name = 'DeviceLookups1793000000005';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX idx_devices_tenant_site`);
    await runner.query(`CREATE INDEX idx_devices_tenant_site ON devices (tenant_id, site_id) WHERE site_id IS NOT NULL`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX idx_devices_tenant_site`);
    await runner.query(`CREATE INDEX idx_devices_tenant_site ON devices (tenant_id, site_id)`);
  }
}
