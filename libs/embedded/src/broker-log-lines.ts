/**
 * Log lines as Mosquitto 2.0 writes them to `$SYS/broker/log/…` (src/handle_connect.c, src/context.c, src/loop.c of v2.0.11),
 * so that the broker watcher reads one grammar. Ids, user names and topics stand in them unquoted, as in Mosquitto.
 */
export interface BrokerLogLine {
  /** the last part of the topic, after `$SYS/broker/log/` */
  leaf: 'N' | 'E' | 'M/subscribe' | 'M/unsubscribe';
  text: string;
}

export interface PeerAddress {
  address: string;
  port: number;
}

export interface ConnectedClient {
  id: string;
  peer: PeerAddress;
  /** MQTT protocol level: 3 (3.1), 4 (3.1.1), 5; Mosquitto 2.0 prints its own numbers 1, 2, 5 */
  protocolLevel: number;
  clean: boolean;
  keepaliveSeconds: number;
  username?: string | undefined;
}

export type DisconnectReason = 'disconnected' | 'closed' | 'timeout' | 'protocol-error' | 'taken-over';

export function newConnection(peer: PeerAddress, listenerPort: number): BrokerLogLine {
  return { leaf: 'N', text: `New connection from ${peer.address}:${peer.port} on port ${listenerPort}.` };
}

export function newClient({ id, peer, protocolLevel, clean, keepaliveSeconds, username }: ConnectedClient): BrokerLogLine {
  const protocol = { 3: 1, 4: 2 }[protocolLevel] ?? protocolLevel;
  const user = username ? `, u'${username}'` : '';
  const session = `p${protocol}, c${clean ? 1 : 0}, k${keepaliveSeconds}${user}`;
  return { leaf: 'N', text: `New client connected from ${peer.address}:${peer.port} as ${id} (${session}).` };
}

/** The end of a client's connection; of one that never became a client the id is `<unknown>`. */
export function clientGone(id: string, reason: DisconnectReason): BrokerLogLine {
  switch (reason) {
    case 'disconnected':
      return { leaf: 'N', text: `Client ${id} disconnected.` };
    case 'closed':
      return { leaf: 'N', text: `Client ${id} closed its connection.` };
    case 'timeout':
      return { leaf: 'N', text: `Client ${id} has exceeded timeout, disconnecting.` };
    case 'protocol-error':
      return { leaf: 'N', text: `Client ${id} disconnected due to protocol error.` };
    case 'taken-over':
      return { leaf: 'E', text: `Client ${id} already connected, closing old connection.` };
  }
}

export function subscribed(id: string, qos: number, topic: string): BrokerLogLine {
  return { leaf: 'M/subscribe', text: `${id} ${qos} ${topic}` };
}

export function unsubscribed(id: string, topic: string): BrokerLogLine {
  return { leaf: 'M/unsubscribe', text: `${id} ${topic}` };
}

/** Mosquitto's limit of a line with its prefix, in bytes; the rest is cut, even inside a character. */
const LONGEST_LINE_BYTES = 999;

/** The payload: epoch seconds, colon, text. */
export function logPayload(line: BrokerLogLine, epochSeconds: number): Buffer {
  return Buffer.from(`${Math.floor(epochSeconds)}: ${line.text}`).subarray(0, LONGEST_LINE_BYTES);
}
