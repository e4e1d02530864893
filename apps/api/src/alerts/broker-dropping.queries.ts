import type { Reader } from '../database/database.js';
import { type AlertFinding, counted } from './alert-finding.js';

/** `$SYS/broker/publish/messages/dropped` of Mosquitto: taken from publishers and thrown away, because a queue was full. */
const DROPPED = 'publish/messages/dropped';
const WINDOW = `interval '5 minutes'`;

interface Row {
  broker: string;
  dropped: number;
  lastAt: Date;
}

/**
 * Brokers whose count of dropped messages rose within five minutes, compared with the value before, however old. A count that went back
 * began anew at 0 with its broker. The first value ever known shows no rise. By idx_broker_metrics_metric_ts and the key of the hours.
 */
export async function findDroppingBrokers(read: Reader): Promise<AlertFinding[]> {
  const rows = await read<Row>(
    `SELECT s.broker, rises.dropped, rises.last_at AS "lastAt"
     FROM broker_state s CROSS JOIN LATERAL (
       SELECT sum(rise) AS dropped, max(ts) FILTER (WHERE rise > 0) AS last_at
       FROM (
         SELECT ts, CASE WHEN value < lag(value) OVER arrival THEN value ELSE value - lag(value) OVER arrival END AS rise
         FROM (
           SELECT ts, id, value FROM broker_metrics WHERE broker = s.broker AND metric = '${DROPPED}' AND ts > now() - ${WINDOW}
           UNION ALL
           (SELECT ts, 0, value FROM (
              (SELECT ts, value FROM broker_metrics WHERE broker = s.broker AND metric = '${DROPPED}' AND ts <= now() - ${WINDOW} ORDER BY ts DESC LIMIT 1)
              UNION ALL
              (SELECT last_ts, last FROM broker_metrics_1h WHERE broker = s.broker AND metric = '${DROPPED}' AND last_ts <= now() - ${WINDOW} ORDER BY broker_metrics_1h.ts DESC LIMIT 1)
            ) before ORDER BY ts DESC LIMIT 1)
         ) counts WINDOW arrival AS (ORDER BY ts, id)
       ) v
     ) rises
     WHERE rises.dropped > 0
     ORDER BY s.broker`,
  );
  return rows.map(({ broker, dropped, lastAt }) => ({
    subject: `broker/${broker}`,
    opens: true,
    level: 0,
    summary: `The broker ${broker} dropped ${counted(dropped, ['message', 'messages'])} within five minutes.`,
    details: { broker, dropped, lastAt },
    path: `/api/v1/brokers/${encodeURIComponent(broker)}/diagnostics`,
  }));
}
