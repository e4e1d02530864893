import type { ServerExit } from './server-process.js';

export interface EmbeddedBroker {
  kind: 'mosquitto' | 'aedes';
  /** `mqtt://127.0.0.1:<port>`; anybody on this machine may connect */
  url: string;
  port: number;
  /** of mosquitto; aedes runs in this process */
  pid?: number;
  /** Mosquitto saves its sessions and messages; aedes keeps nothing. */
  stop(): Promise<void>;
  /** Ends at once, as a crash would: connections break, nothing is saved. */
  kill(): Promise<void>;
  exited: Promise<ServerExit>;
}

/** The name of the setting in messages about a port in use. */
export const BROKER_PORT_SETTING = 'EMBEDDED_BROKER_PORT';
