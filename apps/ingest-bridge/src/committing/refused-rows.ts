import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { refusal } from './admission.js';

interface Work {
  messages: TelemetryMessage[];
  rejections: Rejection[];
}

/**
 * What to try after PostgreSQL refused a row: halves, in order, until the row stands alone (log2 tries); then that message
 * without its searchable copy; then quarantine. Never anything that was not refused by itself.
 */
export function splitAfterRefusal({ messages, rejections }: Work, refused: Error): Work[] {
  if (messages.length > 0 && rejections.length > 0) {
    return [
      { messages, rejections: [] },
      { messages: [], rejections },
    ];
  }
  if (messages.length > 1) return halves(messages).map((half) => ({ messages: half, rejections: [] }));
  if (rejections.length > 1) return halves(rejections).map((half) => ({ messages: [], rejections: half }));
  const [message] = messages;
  if (!message) return [{ messages, rejections }];
  const why = `PostgreSQL refused it (${(refused as Error & { code?: string }).code ?? 'unknown'}): ${refused.message}`;
  if (message.rawData !== null) return [{ messages: [{ ...message, rawData: null, rawDataError: why }], rejections: [] }];
  return [{ messages: [], rejections: [refusal(message, 'database_refused', why)] }];
}

function halves<T>(items: readonly T[]): T[][] {
  const middle = Math.ceil(items.length / 2);
  return [items.slice(0, middle), items.slice(middle)];
}
