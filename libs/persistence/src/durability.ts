import type { DataSource } from 'typeorm';

const REQUIRED = ['fsync', 'full_page_writes', 'synchronous_commit'] as const;

/** The server may lose what it has committed, so "acknowledged" would be a lie. */
export class DurabilityError extends Error {
  readonly code = 'DATABASE_NOT_DURABLE';
  readonly exitCode = 78;

  constructor(readonly off: readonly string[]) {
    super(
      `PostgreSQL runs with ${off.map((name) => `${name} = off`).join(', ')}: it may lose what it has committed. ` +
        `Turn it on, or set DATABASE_ALLOW_DATA_LOSS=true to accept the loss.`,
    );
    this.name = 'DurabilityError';
  }
}

/** Throws DurabilityError when fsync, full_page_writes or synchronous_commit is off for this role. */
export async function assertDurability(dataSource: DataSource): Promise<void> {
  const rows = await dataSource.query<{ name: string; setting: string }[]>(
    `SELECT name, current_setting(name) AS setting FROM unnest($1::text[]) AS name`,
    [REQUIRED],
  );
  const off = rows.filter((row) => row.setting === 'off').map((row) => row.name);
  if (off.length > 0) throw new DurabilityError(off);
}
