import { readFileSync } from 'node:fs';
import type { MqttSettings } from '@tallystick/config';
import type { IClientOptions } from 'mqtt';

/** How long the broker keeps the session, and with it the unacknowledged messages, while the process is away. */
export const SESSION_EXPIRY_S = 7 * 24 * 3600;
/** A connection that lasted for so long may come back in QUICK_TRIES quick tries; of one that is cut again and again nothing is hoped. */
export const STEADY_MS = 5_000;
/** 4 s of them: what a restart of a broker takes. Its devices may be waiting for us (docs/adr/0034-devices-wait-for-a-bridge.md). */
export const QUICK_TRIES = 50;
const QUICK_RECONNECT_MS = 100;
const FIRST_RECONNECT_MS = 1_000;
const LONGEST_RECONNECT_MS = 60_000;

/** Options of a persistent session whose unacknowledged messages the broker keeps for seven days. Reads the TLS files. */
export function connectOptions(settings: MqttSettings, clientId: string, receiveMaximum: number): IClientOptions {
  return {
    clientId,
    username: settings.username,
    password: settings.password,
    ca: settings.caFile === undefined ? undefined : readFileSync(settings.caFile),
    cert: settings.certFile === undefined ? undefined : readFileSync(settings.certFile),
    key: settings.keyFile === undefined ? undefined : readFileSync(settings.keyFile),
    clean: false,
    keepalive: settings.keepaliveS,
    connectTimeout: 10_000,
    reconnectPeriod: FIRST_RECONNECT_MS,
    reconnectOnConnackError: true,
    resubscribe: false,
    ...protocolOptions(settings.protocolVersion === '3.1.1' ? 4 : 5, receiveMaximum),
  };
}

/** The part of the options that differs between MQTT 5 and 3.1.1 (which has neither expiry nor a receive maximum). */
export function protocolOptions(protocolVersion: 4 | 5, receiveMaximum: number, sessionExpiryInterval = SESSION_EXPIRY_S): IClientOptions {
  const properties = protocolVersion === 5 ? { sessionExpiryInterval, receiveMaximum } : undefined;
  return { protocolId: 'MQTT', protocolVersion, properties };
}

/** Delay before a reconnect in ms: doubling from 1 s to 60 s, with jitter so that many clients do not come back as one. */
export function reconnectDelayMs(failures: number, random = Math.random()): number {
  return jittered(Math.min(LONGEST_RECONNECT_MS, FIRST_RECONNECT_MS * 2 ** Math.min(failures, 16)), random);
}

/** Delay before a quick try in ms. */
export function quickReconnectDelayMs(random = Math.random()): number {
  return jittered(QUICK_RECONNECT_MS, random);
}

function jittered(longestMs: number, random: number): number {
  return Math.round(longestMs * (0.5 + random / 2));
}
