import { startAedes } from './aedes.js';
import type { EmbeddedBroker } from './embedded-broker.js';
import { findMosquitto, startMosquitto } from './mosquitto.js';

export interface BrokerOptions {
  /** for Mosquitto's files */
  dir: string;
  /** 0 = a free one */
  port: number;
  log?: (line: string) => void;
}

/** Mosquitto where it is installed, otherwise aedes, which keeps messages in memory only: `kind` tells which. */
export function startBroker({ dir, port, log }: BrokerOptions): Promise<EmbeddedBroker> {
  const binary = findMosquitto();
  return binary ? startMosquitto({ dir, port, binary, ...(log && { log }) }) : startAedes({ port });
}
