import type { DataSource } from 'typeorm';
import { SERVICE_ROLES } from './service-roles.js';

/** The role under which the API asks, and which row-level security binds. */
export const READER_ROLE = SERVICE_ROLES.api;

/** The database login has rights that an API must not have, or lacks the one that it needs. */
export class UnsuitableRoleError extends Error {
  readonly code = 'DATABASE_ROLE_UNSUITABLE';
  readonly exitCode = 78;

  constructor(message: string) {
    super(message);
    this.name = 'UnsuitableRoleError';
  }
}

/**
 * Throws UnsuitableRoleError for a login that may not act as `tallystick_api`, and, unless `allowOwner`, for one that could take its
 * limits off again: a superuser, the owner of the tables, or one that bypasses row-level security.
 */
export async function assertReaderRole(dataSource: DataSource, { allowOwner }: { allowOwner: boolean }): Promise<void> {
  const [login] = await dataSource.query<{ name: string; isReader: boolean; isOwner: boolean }[]>(
    `SELECT session_user AS name, pg_has_role(session_user, $1, 'USAGE') AS "isReader",
       (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user)
         OR EXISTS (SELECT FROM pg_class WHERE oid = 'messages'::regclass AND pg_has_role(session_user, relowner, 'MEMBER')) AS "isOwner"`,
    [READER_ROLE],
  );
  const { name, isReader, isOwner } = login!;
  if (!isReader) {
    throw new UnsuitableRoleError(
      `The database role ${name} may not act as ${READER_ROLE}. Let an administrator: GRANT ${READER_ROLE} TO "${name}"`,
    );
  }
  if (isOwner && !allowOwner) {
    throw new UnsuitableRoleError(
      `The database role ${name} is a superuser or owns the tables: nothing in the database would keep tenants apart if the API had a fault. ` +
        `Let it log in as a role that is only a member of ${READER_ROLE}, or set DATABASE_ALLOW_OWNER=true to accept that.`,
    );
  }
}
