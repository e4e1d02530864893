import type { EndReason, EventAction } from '@tallystick/persistence';

/** What a line of `New client connected` says of the connection. */
export interface ConnectDetails {
  /** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5. */
  protocolVersion: number;
  cleanStart: boolean;
  keepaliveS: number;
}

/** The broker's own start and end: every session is over. */
export interface BrokerRun {
  phase: 'starting' | 'running' | 'terminating';
  version: string;
}

/** One log line as read. A part that does not apply, or that the line does not tell for certain, is null. */
export interface LogLine {
  action: EventAction;
  /** Exactly as the client sent it. */
  client: string | null;
  topic: string | null;
  qos: number | null;
  username: string | null;
  /** The broker's clock, seconds since 1970. */
  ts: number | null;
  address: string | null;
  port: number | null;
  /** Why, in the broker's words. */
  reason: string | null;
  /** Why, in ours: `disconnected` lines only. */
  endReason: EndReason | null;
  /** The broker cut the line, so whatever stood at its end is missing. */
  truncated: boolean;
  /** More than one reading fits; what depends on the choice is null. */
  ambiguous: boolean;
  /** An accepted connection's details: `connected` lines only. */
  connect: ConnectDetails | null;
  /** The stored session of this client is gone: `Expiring client`. */
  sessionExpired: boolean;
  brokerRun: BrokerRun | null;
}

/** Whom the reader of a line may take for connected. Nothing else tells apart readings of a line in which ids stand unquoted. */
export interface OpenClients {
  /** It is connected, or may be: the line of its connection had another reading. */
  isOpen(client: string): boolean;
  /** It is connected from there for certain. */
  isOpenAt(client: string, address: string | null, port: number | null): boolean;
}

/** Up to 2.0: stands for a connection that never became a client. A client may be called so too, and cannot be told from those. */
export const NO_CLIENT = '<unknown>';

export function logLine(action: EventAction, parts: Partial<LogLine> = {}): LogLine {
  return { ...NOTHING, action, ...parts };
}

const NOTHING: LogLine = {
  action: 'unknown',
  client: null,
  topic: null,
  qos: null,
  username: null,
  ts: null,
  address: null,
  port: null,
  reason: null,
  endReason: null,
  truncated: false,
  ambiguous: false,
  connect: null,
  sessionExpired: false,
  brokerRun: null,
};
