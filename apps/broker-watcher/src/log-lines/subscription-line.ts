import { type LogLine, logLine, NO_CLIENT, type OpenClients } from './log-line.js';

interface Reading {
  client: string;
  qos: number | null;
  topic: string;
}

/** Looking up a reading costs its length; a line with more readings than this is left unread rather than searched. */
const MOST_READINGS = 100;

/**
 * `ID QOS TOPIC` and `ID TOPIC`, in which ids and topics stand unquoted and may hold spaces and digits. Several readings are told
 * apart by who is connected: one that fits an open id is right, of more (`dev` and `dev 1 x`) none is taken, for the line is what
 * either of them can have caused. Who is subscribed to what proves nothing: brokers log it too when somebody leaves a topic that
 * it never subscribed to.
 */
export function subscriptionLine(action: 'subscribe' | 'unsubscribe', text: string, clients: OpenClients | undefined): LogLine {
  const readings = action === 'subscribe' ? subscribeReadings(text) : unsubscribeReadings(text);
  if (readings.length === 0) return logLine(action);
  const reading = readings.length > MOST_READINGS ? undefined : theOne(readings, clients);
  return reading ? logLine(action, { ...reading }) : logLine(action, { ambiguous: true });
}

function theOne(readings: readonly Reading[], clients: OpenClients | undefined): Reading | undefined {
  if (readings.length === 1) return readings[0];
  const open = readings.filter(({ client }) => client === NO_CLIENT || clients?.isOpen(client));
  return open.length === 1 ? open[0] : undefined;
}

function subscribeReadings(text: string): Reading[] {
  const readings: Reading[] = [];
  for (let at = text.indexOf(' ', 1); at !== -1 && readings.length <= MOST_READINGS; at = text.indexOf(' ', at + 1)) {
    const qos = text.charCodeAt(at + 1) - 48;
    if (qos < 0 || qos > 2 || text[at + 2] !== ' ' || at + 3 >= text.length) continue;
    readings.push({ client: text.slice(0, at), qos, topic: text.slice(at + 3) });
  }
  return readings;
}

function unsubscribeReadings(text: string): Reading[] {
  const readings: Reading[] = [];
  for (let at = text.indexOf(' ', 1); at !== -1 && readings.length <= MOST_READINGS; at = text.indexOf(' ', at + 1)) {
    if (at + 1 < text.length) readings.push({ client: text.slice(0, at), qos: null, topic: text.slice(at + 1) });
  }
  return readings;
}
