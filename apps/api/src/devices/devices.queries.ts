import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { DeviceSummary } from './devices.dto.js';

export interface DevicesFilter {
  tenantId?: string;
  siteId?: string;
}

/** Newest devices first. Not by last_seen: it moves while pages are read, and devices would be missed or repeated. */
export async function listDevices(read: Reader, filter: DevicesFilter, list: ListRequest): Promise<Page<DeviceSummary>> {
  const [createdAtMs, tenantId, deviceId] = list.after ?? [];
  const rows = await read<DeviceSummary>(
    `SELECT d.tenant_id AS "tenantId", d.device_id AS "deviceId", d.site_id AS "siteId", d.last_seen AS "lastSeen",
       d.message_count AS "messageCount", d.public_key AS "publicKey", d.firmware_version AS "firmwareVersion",
       d.created_at AS "createdAt", d.updated_at AS "updatedAt"
     FROM devices d
     WHERE ($1::text IS NULL OR d.tenant_id = $1)
       AND ($2::text IS NULL OR d.site_id = $2)
       AND ($3::timestamptz IS NULL OR (d.created_at, d.tenant_id, d.device_id) < ($3, $4::text, $5::text))
       AND ($7::text IS NULL OR d.tenant_id = $7)
     ORDER BY d.created_at DESC, d.tenant_id DESC, d.device_id DESC
     LIMIT $6`,
    [
      filter.tenantId,
      filter.siteId,
      createdAtMs === undefined ? undefined : new Date(Number(createdAtMs)),
      tenantId,
      deviceId,
      list.limit + 1,
      read.tenantId,
    ],
  );
  return list.page(rows, (row) => [String(row.createdAt.getTime()), row.tenantId, row.deviceId]);
}
