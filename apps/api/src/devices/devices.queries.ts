import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { DeviceActivity, DeviceDetails, DeviceSummary, RecentMessages } from './devices.dto.js';

/** Lag and gaps need the rows themselves, which lie apart: of so many, an answer takes as long for a busy device as for a quiet one. */
const RECENT_MESSAGES = 200;
const MOST_GAPS = 100;

const SUMMARY = `
  d.tenant_id AS "tenantId", d.device_id AS "deviceId", d.site_id AS "siteId", d.last_seen AS "lastSeen",
  d.message_count AS "messageCount", d.public_key AS "publicKey", d.firmware_version AS "firmwareVersion",
  d.created_at AS "createdAt", d.updated_at AS "updatedAt"`;

export interface DevicesFilter {
  tenantId?: string;
  siteId?: string;
}

/**
 * Newest devices first. Not by last_seen: it moves while pages are read, and devices would be missed or repeated. Of the whole platform
 * all are read and sorted for each page, 100,000 within 0.1 s; an index for that would be written again with every change of last_seen.
 */
export async function listDevices(read: Reader, filter: DevicesFilter, list: ListRequest): Promise<Page<DeviceSummary>> {
  const [createdAtMs, tenantId, deviceId] = list.after ?? [];
  const rows = await read<DeviceSummary>(
    `SELECT ${SUMMARY}
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

export interface DeviceName {
  deviceId: string;
  /** Undefined: of any tenant that the reader sees. */
  tenantId?: string;
}

/** The devices of this name; two at most, to tell one from several. */
export async function findDevices(read: Reader, { deviceId, tenantId }: DeviceName): Promise<DeviceSummary[]> {
  return read<DeviceSummary>(
    `SELECT ${SUMMARY} FROM devices d
     WHERE d.device_id = $1 AND ($2::text IS NULL OR d.tenant_id = $2) AND ($3::text IS NULL OR d.tenant_id = $3)
     LIMIT 2`,
    [deviceId, tenantId, read.tenantId],
  );
}

/** What a device has sent lately. */
export async function findDeviceStatistics(read: Reader, device: DeviceSummary): Promise<Omit<DeviceDetails, keyof DeviceSummary>> {
  const [[activity], recent] = await Promise.all([
    read<Pick<DeviceDetails, 'last24Hours' | 'last7Days'>>(
      // From idx_messages_device_id alone: message_id, which names partitions, is not in it; received_at excludes them by their CHECK.
      // The day is a subquery, which is evaluated once: an interval is taken off a time by the calendar of its zone.
      `SELECT ${activityJson('24 hours', `FILTER (WHERE m.received_at >= (SELECT now() - interval '24 hours'))`)} AS "last24Hours",
         ${activityJson('7 days')} AS "last7Days"
       FROM messages m
       WHERE m.tenant_id = $1 AND m.device_id = $2 AND m.received_at >= now() - interval '7 days'`,
      [device.tenantId, device.deviceId, device.createdAt],
      'once',
    ),
    findRecent(read, device),
  ]);
  const { last24Hours, last7Days } = activity!;
  return { last24Hours: withDates(last24Hours), last7Days: withDates(last7Days), recent };
}

/** Of the rows that `within` leaves, which are those of `span`. */
function activityJson(span: string, within = ''): string {
  const minutes = `greatest(1, extract(epoch FROM least(interval '${span}', now() - $3::timestamptz)) / 60)`;
  return `json_build_object('messages', (count(*) ${within})::text, 'firstReceivedAt', min(m.received_at) ${within},
    'lastReceivedAt', max(m.received_at) ${within}, 'messagesPerMinute', round((count(*) ${within} / ${minutes})::numeric, 3))`;
}

/** PostgreSQL writes times into JSON with the session's offset. */
function withDates({ firstReceivedAt, lastReceivedAt, ...activity }: DeviceActivity): DeviceActivity {
  const date = (value: Date | null) => value && new Date(value);
  return { ...activity, firstReceivedAt: date(firstReceivedAt), lastReceivedAt: date(lastReceivedAt) };
}

async function findRecent(read: Reader, { tenantId, deviceId }: DeviceSummary): Promise<RecentMessages> {
  const [recent] = await read<RecentMessages>(
    // The limit is a parameter: given a number, PostgreSQL expects few messages of a device, and reads and sorts all there are.
    `WITH recent AS MATERIALIZED (
       SELECT m.received_at, m.device_seq, round(extract(epoch FROM m.received_at - m.device_timestamp) * 1000)::bigint AS lag_ms
       FROM messages m
       WHERE m.tenant_id = $1 AND m.device_id = $2
       ORDER BY m.received_at DESC
       LIMIT $3
     ), steps AS (
       SELECT device_seq AS seq, lag(device_seq) OVER (ORDER BY device_seq) AS seq_before FROM recent WHERE device_seq IS NOT NULL
     ), gaps AS (
       SELECT seq_before, seq, seq::numeric - seq_before - 1 AS missing, row_number() OVER (ORDER BY seq DESC) AS place
       FROM steps WHERE seq::numeric - seq_before > 1
     )
     SELECT (SELECT count(*)::int FROM recent) AS messages,
       (SELECT json_build_object('lastMs', (array_agg(lag_ms ORDER BY received_at DESC))[1], 'minMs', min(lag_ms),
                                 'medianMs', percentile_disc(0.5) WITHIN GROUP (ORDER BY lag_ms), 'maxMs', max(lag_ms))
        FROM recent WHERE lag_ms IS NOT NULL HAVING count(*) > 0) AS lag,
       (SELECT json_build_object('first', min(seq)::text, 'last', max(seq)::text,
                                 'missing', (SELECT coalesce(sum(missing), 0)::text FROM gaps), 'gapCount', (SELECT count(*) FROM gaps),
                                 'gaps', (SELECT coalesce(json_agg(json_build_object('after', seq_before::text, 'before', seq::text,
                                                                                     'missing', missing::text) ORDER BY seq DESC), '[]')
                                          FROM gaps WHERE place <= ${MOST_GAPS}))
        FROM steps HAVING count(*) > 0) AS sequence`,
    [tenantId, deviceId, RECENT_MESSAGES],
    'once',
  );
  return recent!;
}

/** Sets or removes a device's public key. The row is locked first, so that `before` is what was replaced. */
export async function setPublicKey(
  run: Reader,
  { tenantId, deviceId }: DeviceSummary,
  publicKey: string | null,
): Promise<{ before: string | null; device: DeviceSummary }> {
  const [row] = await run<{ before: string | null }>(
    `SELECT public_key AS before FROM devices WHERE tenant_id = $1 AND device_id = $2 FOR UPDATE`,
    [tenantId, deviceId],
  );
  const [device] = await run<DeviceSummary>(
    `UPDATE devices d SET public_key = $3, updated_at = now() WHERE d.tenant_id = $1 AND d.device_id = $2 RETURNING ${SUMMARY}`,
    [tenantId, deviceId, publicKey],
  );
  return { before: row!.before, device: device! };
}
