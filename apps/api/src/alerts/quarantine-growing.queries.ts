import type { Reader } from '../database/database.js';
import { type AlertFinding, counted } from './alert-finding.js';
import type { AlertSettings } from './alert.settings.js';

/** Counted no further: a flood is a flood, and counting it must stay cheap. */
const MOST = 10_000;

interface Row {
  reason: string;
  rejections: number;
}

/** Rejections of the last ten minutes, by idx_rejected_messages_received_at. An open alert ends at half the number that opened it. */
export async function findGrowingQuarantine(read: Reader, { rejections: limit }: AlertSettings): Promise<AlertFinding[]> {
  const rows = await read<Row>(
    `SELECT reason, count(*)::int AS rejections
     FROM (SELECT reason FROM rejected_messages WHERE received_at > now() - interval '10 minutes' ORDER BY received_at DESC LIMIT ${MOST}) latest
     GROUP BY reason ORDER BY 2 DESC, 1`,
  );
  const rejections = rows.reduce((sum, row) => sum + row.rejections, 0);
  if (rejections <= limit / 2) return [];
  return [
    {
      subject: 'quarantine',
      opens: rejections > limit,
      level: 0,
      summary: `${counted(rejections, ['message was', 'messages were'], MOST)} rejected within ten minutes, most of them as ${rows[0]!.reason}.`,
      details: { rejections, limit, reasons: Object.fromEntries(rows.map((row) => [row.reason, row.rejections])) },
      path: '/api/v1/rejections?status=new',
    },
  ];
}
