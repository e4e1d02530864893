import { uuidv7Floor } from '@tallystick/persistence';
import { Conditions } from '../database/conditions.js';
import type { Planning, Reader } from '../database/database.js';
import { jsonTime, selected } from '../database/json-columns.js';
import type { CursorKey } from '../http/cursor.js';
import { JsonText } from '../http/json-text.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import { conditionsOf, type Days, daysOf, daysWithin, isFew } from './message-days.js';
import type { MessageBatch, MessageDetails, MessageSummary } from './messages.dto.js';

/** A page ends before it gets larger than this; 500 payloads of the largest size would be 128 MB. */
const PAGE_BYTES = 4 * 1024 * 1024;

const NO_UUID = '00000000-0000-0000-0000-000000000000';

/** The members of a summary in their order, with their SQL; `rawData` follows. */
const SUMMARY = {
  messageId: 'm.message_id',
  batchId: 'm.batch_id',
  leafIndex: 'm.leaf_index',
  tenantId: 'm.tenant_id',
  siteId: 'm.site_id',
  deviceId: 'm.device_id',
  topic: 'm.topic',
  messageHash: 'm.message_hash',
  payloadSize: 'm.payload_size',
  rawDataError: 'm.raw_data_error',
  receivedAt: 'm.received_at',
  processedAt: 'm.processed_at',
  deviceTimestamp: 'm.device_timestamp',
  deviceSeq: 'm.device_seq',
  deviceSignature: 'm.device_signature',
  qos: 'm.qos',
  retained: 'm.retained',
};
/** As JSON has them. */
const JSON_SUMMARY = {
  ...SUMMARY,
  receivedAt: jsonTime(SUMMARY.receivedAt),
  processedAt: jsonTime(SUMMARY.processedAt),
  deviceTimestamp: jsonTime(SUMMARY.deviceTimestamp),
  deviceSeq: `${SUMMARY.deviceSeq}::text`,
};
/**
 * The payload's own JSON text. Not jsonb's text of it: that writes numbers out in full, so that a payload of 256 KiB with 1e131071 in it
 * many times over would become gigabytes.
 */
const rawDataColumn = (condition = 'true') =>
  `CASE WHEN m.raw_data IS NOT NULL AND ${condition} THEN json_text(m.payload) END AS "rawData"`;

/** The columns of a summary; `rawData` only where the given condition holds. */
export function summaryColumns(condition?: string): string {
  return `${selected(SUMMARY)}, ${rawDataColumn(condition)}`;
}

export interface MessagesFilter extends TimeRange {
  hash?: string;
  deviceId?: string;
  tenantId?: string;
  siteId?: string;
  batchId?: string;
  /** JSON text that the payload contains. */
  data?: string;
}

/** What a page's cursor holds: a batch's messages are in the order of its leaves. */
export function messageKeys({ batchId }: MessagesFilter): CursorKey[] {
  return batchId === undefined ? ['uuid'] : ['int', 'uuid'];
}

/**
 * What a page is read by, each an index that has its rows in order: a batch's leaves, a device's or a tenant's messages, or all by time.
 * UUIDv7 begins with received_at, so both orders are the same.
 */
const ORDER = {
  batch: 'm.leaf_index DESC, m.message_id DESC',
  device: 'm.received_at DESC, m.message_id DESC',
  // The tenant is one. Named first, it leaves no other index: how many messages it has among the others' is not known to a plan made once.
  tenant: 'm.tenant_id DESC, m.message_id DESC',
  time: 'm.message_id DESC',
};

type MessagesPath = keyof typeof ORDER;

const TENANT_IS: Record<MessagesPath, string> = {
  // A batch has one tenant. With two indexes to choose from, PostgreSQL would take both, and read all that the tenant has besides.
  batch: '(m.tenant_id = ?) IS TRUE',
  device: 'm.tenant_id = ?',
  // An equality would make the order by tenant one by message_id alone.
  tenant: 'm.tenant_id = ANY (?)',
  time: 'm.tenant_id = ?',
};

/** Newest first; of a batch, from its last leaf to its first, which is nearly the same: a clock may have been set back, and a replay is older. */
export async function listMessages(read: Reader, filter: MessagesFilter, list: ListRequest): Promise<Page<JsonText>> {
  const tenants = await tenantsOf(read, filter);
  // Equality wherever it can be: only then does a device's index give the rows in order.
  const [tenantId, otherTenants] = tenants && tenants.length !== 1 ? [undefined, tenants] : [tenants?.[0], undefined];
  const path = pathOf({ ...filter, tenantId });
  const days = filter.batchId === undefined ? daysWithin(filter, list.nowMs) : await daysOf(read, filter.batchId);
  if (path === 'batch' && !days) return list.page<JsonText>([], () => []);
  const messageId = list.after?.at(-1);
  const fromId = filter.from && uuidv7Floor(filter.from.getTime());
  const toId = filter.to && uuidv7Floor(filter.to.getTime());
  const beforeId = (path === 'batch' ? undefined : messageId) ?? toId;
  const matches = await messagesContaining(read, filter, [fromId, beforeId, tenantId, filter.siteId, list.limit + 1]);
  const planning = planningOf(path, filter, otherTenants, days);
  const where = new Conditions()
    .and('m.message_hash = ?', filter.hash)
    .and('m.device_id = ?', filter.deviceId)
    .and(TENANT_IS[path], path === 'tenant' ? [tenantId] : tenantId)
    .and('m.tenant_id = ANY (?)', otherTenants)
    .and('m.batch_id = ?', filter.batchId)
    .always(...(path === 'batch' || (planning !== 'each time' && isFew(days)) ? conditionsOf(days) : []))
    .and('(m.leaf_index, m.message_id) < (?::int, ?::uuid)', path === 'batch' ? list.after?.[0] : undefined, messageId)
    .and('m.message_id >= ?::uuid', fromId)
    .and('m.message_id < ?::uuid', beforeId)
    .and('m.site_id = ?', filter.siteId)
    .and('m.raw_data @> ?::jsonb', filter.data)
    .and('m.message_id = ANY (?::uuid[])', matches);
  const found = `SELECT m.* FROM messages m ${where.sql} ORDER BY ${ORDER[path]} LIMIT ${where.value(list.limit + 1)}`;
  const rows = await read<PageRow>(page(found, ORDER[path]), where.values, planning);
  return messagePage(rows, list, (row) => (path === 'batch' ? [String(row.leafIndex), row.messageId] : [row.messageId]));
}

function pathOf({ batchId, deviceId, tenantId, hash, data }: MessagesFilter): MessagesPath {
  if (batchId !== undefined) return 'batch';
  if (deviceId !== undefined) return 'device';
  return tenantId !== undefined && hash === undefined && data === undefined ? 'tenant' : 'time';
}

/**
 * Planned once is what has one good plan for any values: how many messages have a hash or contain a JSON decides by which index they are
 * read. And what looks into few days, as such a plan locks and opens each of its days when it is run; or is of a device, which may have sent
 * at any time.
 */
function planningOf(path: MessagesPath, filter: MessagesFilter, otherTenants: string[] | undefined, days: Days | undefined): Planning {
  const { hash, siteId, data, from, to } = filter;
  const isOnce = {
    batch: isFew(days) && [siteId, from, to].every((value) => value === undefined),
    device: true,
    tenant: isFew(days),
    time: isFew(days) && siteId === undefined,
  };
  return [hash, data, otherTenants].every((value) => value === undefined) && isOnce[path] ? 'once, in order' : 'each time';
}

/**
 * The page's messages by the JSON index, for a reader of the whole platform who names nothing narrower; undefined for others, who
 * find them by what they name.
 */
async function messagesContaining(
  read: Reader,
  { data, deviceId, batchId, hash }: MessagesFilter,
  narrowedBy: unknown[],
): Promise<string[] | undefined> {
  if (data === undefined || read.tenantId !== null || (deviceId ?? batchId ?? hash) !== undefined) return undefined;
  const rows = await read<{ messageId: string }>(`SELECT messages_containing($1, $2, $3, $4, $5, $6) AS "messageId"`, [
    data,
    ...narrowedBy,
  ]);
  return rows.map((row) => row.messageId);
}

/** The tenants to look at: the reader's own, the one asked for, or those that own a device of this name, since its index begins with the tenant. */
export async function tenantsOf(read: Reader, { tenantId, deviceId }: MessagesFilter): Promise<string[] | undefined> {
  if (read.tenantId !== null) return tenantId === undefined || tenantId === read.tenantId ? [read.tenantId] : [];
  if (tenantId !== undefined) return [tenantId];
  if (deviceId === undefined) return undefined;
  const rows = await read<{ tenantId: string }>(`SELECT tenant_id AS "tenantId" FROM devices WHERE device_id = $1`, [deviceId]);
  return rows.map((row) => row.tenantId);
}

/** In leaf order; undefined when there is no such batch. */
export async function listBatchMessages(read: Reader, batchId: string, list: ListRequest): Promise<Page<JsonText> | undefined> {
  const days = await daysOf(read, batchId);
  if (!days) return undefined;
  const [leafIndex, messageId] = list.after ?? [];
  const where = new Conditions()
    .and('m.batch_id = ?', batchId)
    .always(...conditionsOf(days))
    .and('(m.leaf_index, m.message_id) > (?::int, ?::uuid)', leafIndex ?? -1, messageId ?? NO_UUID);
  const found = `SELECT m.* FROM messages m ${where.sql} ORDER BY ${LEAF_ORDER} LIMIT ${where.value(list.limit + 1)}`;
  const rows = await read<PageRow>(page(found, LEAF_ORDER), where.values, isFew(days) ? 'once, in order' : 'each time');
  return messagePage(rows, list, (row) => [String(row.leafIndex), row.messageId]);
}

const LEAF_ORDER = 'm.leaf_index, m.message_id';

/** One message with the state of its batch. */
export async function findMessage(read: Reader, messageId: string): Promise<MessageDetails | undefined> {
  const [row] = await read<SummaryRow & Omit<MessageDetails, keyof MessageSummary>>(
    `SELECT ${summaryColumns()}, encode(m.nonce, 'hex') AS nonce, m.packet_id AS "packetId",
       json_build_object('status', b.status, 'logIndex', b.log_index::text,
                         'batchHash', CASE WHEN b.status NOT IN ('pending', 'hashing') THEN b.batch_hash END) AS batch
     FROM messages m JOIN batches b USING (batch_id)
     WHERE m.message_id = $1::uuid AND ($2::text IS NULL OR m.tenant_id = $2)`,
    [messageId, read.tenantId],
  );
  return row && { ...summary(row), nonce: row.nonce, packetId: row.packetId, batch: row.batch satisfies MessageBatch };
}

export interface StoredPayload {
  payload: Buffer;
  messageHash: string;
}

export async function findPayload(read: Reader, messageId: string): Promise<StoredPayload | undefined> {
  const rows = await read<StoredPayload>(
    `SELECT m.payload, m.message_hash AS "messageHash" FROM messages m
     WHERE m.message_id = $1::uuid AND ($2::text IS NULL OR m.tenant_id = $2)`,
    [messageId, read.tenantId],
  );
  return rows[0];
}

export type SummaryRow = Omit<MessageSummary, 'rawData'> & { rawData: string | null };

interface PageRow {
  messageId: string;
  leafIndex: number;
  /** A summary without `rawData`. */
  json: string;
  rawData: string | null;
  /** Whether a row was found behind this one, be it cut off. */
  isFollowed: boolean | null;
}

/**
 * The rows that `found` selects, cut where their payloads exceed PAGE_BYTES. PostgreSQL writes each as JSON: 17 values of ours for every row
 * cost the API twice as much as all the rest of an answer.
 */
function page(found: string, order: string): string {
  return `SELECT m.message_id AS "messageId", m.leaf_index AS "leafIndex", row_to_json(s)::text AS json, ${rawDataColumn()},
      m.followed AS "isFollowed"
    FROM (
      SELECT m.*, lead(true) OVER so_far AS followed, sum(m.payload_size) OVER so_far - m.payload_size AS bytes_before
      FROM (${found}) m
      WINDOW so_far AS (ORDER BY ${order})
    ) m
    CROSS JOIN LATERAL (SELECT ${selected(JSON_SUMMARY)}) s
    WHERE m.bytes_before < ${PAGE_BYTES}
    ORDER BY ${order}`;
}

function messagePage(rows: PageRow[], list: ListRequest, keysOf: (row: PageRow) => string[]): Page<JsonText> {
  const more = rows.length > list.limit || rows.at(-1)?.isFollowed === true;
  const { items, nextCursor } = list.page(rows, keysOf, more);
  return { items: items.map(summaryJson), nextCursor };
}

function summaryJson({ json, rawData }: PageRow): JsonText {
  return new JsonText(`${json.slice(0, -1)},"rawData":${rawData}}`);
}

export function summary(row: SummaryRow): MessageSummary {
  return { ...row, rawData: row.rawData === null ? null : new JsonText(row.rawData) };
}
