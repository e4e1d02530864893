import { readFileSync } from 'node:fs';
import type { MqttSettings } from '@tallystick/config';
import { connect, type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt';

const CONNECT_TIMEOUT_MS = 10_000;
const RECONNECT_MS = 1_000;
/** CONNACK codes that say "not this protocol version": 0x84 in MQTT 5, 1 in 3.1.1. */
const UNSUPPORTED_VERSION_CODES: unknown[] = [0x84, 1];
/** CONNACK codes that name the credentials: 0x86 and 0x87 in MQTT 5, 4 and 5 in 3.1.1. */
const CREDENTIALS_CODES: unknown[] = [0x86, 0x87, 4, 5];

/** Nothing can be sent: no broker, or one that does not let us in. */
export class BrokerUnavailableError extends Error {
  readonly code = 'BROKER_UNAVAILABLE';
  /** sysexits.h EX_UNAVAILABLE */
  readonly exitCode = 69;

  constructor(message: string, options: { cause: unknown }) {
    super(message, options);
    this.name = 'BrokerUnavailableError';
  }
}

export interface BrokerConnection {
  client: MqttClient;
  connack: IConnackPacket;
}

/**
 * Connects with MQTT 5, or with 3.1.1 to a broker that refuses 5. Throws BrokerUnavailableError when the first attempt fails;
 * a connection lost later comes back by itself, and mqtt.js sends again what was not acknowledged.
 */
export async function connectToBroker(settings: MqttSettings, clientId: string): Promise<BrokerConnection> {
  try {
    return await attempt(settings, clientId, settings.protocolVersion === '3.1.1' ? 4 : 5).catch((error: { code?: unknown }) => {
      if (settings.protocolVersion !== 'auto' || !UNSUPPORTED_VERSION_CODES.includes(error.code)) throw error;
      return attempt(settings, clientId, 4);
    });
  } catch (error) {
    throw new BrokerUnavailableError(explain(settings, error as Error & { code?: unknown }), { cause: error });
  }
}

/** The broker's URL without credentials. */
export function shownUrl(text: string): string {
  if (!URL.canParse(text)) return text;
  const { protocol, host, pathname } = new URL(text);
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
}

function attempt(settings: MqttSettings, clientId: string, protocolVersion: 4 | 5): Promise<BrokerConnection> {
  const client = connect(settings.url, { ...connectOptions(settings), clientId, protocolVersion });
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      client.end(true);
      reject(error);
    };
    const onClose = () => fail(new Error('it closed the connection'));
    // After a failure `error` keeps its listener: a further one, unheard, would end the process.
    client.on('error', fail).once('close', onClose);
    client.once('connect', (connack) => {
      client.off('error', fail).off('close', onClose);
      client.options.reconnectPeriod = RECONNECT_MS;
      resolve({ client, connack });
    });
  });
}

function connectOptions(settings: MqttSettings): IClientOptions {
  return {
    username: settings.username,
    password: settings.password,
    ca: settings.caFile === undefined ? undefined : readFileSync(settings.caFile),
    cert: settings.certFile === undefined ? undefined : readFileSync(settings.certFile),
    key: settings.keyFile === undefined ? undefined : readFileSync(settings.keyFile),
    // No session: nothing is to be left in the broker when the simulation is over.
    clean: true,
    keepalive: settings.keepaliveS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // None until connected once, so that a wrong URL ends the program and does not keep it trying.
    reconnectPeriod: 0,
    reconnectOnConnackError: true,
    protocolId: 'MQTT',
  };
}

function explain(settings: MqttSettings, error: Error & { code?: unknown }): string {
  const url = shownUrl(settings.url);
  const reason = error.message || String(error.code);
  if (CREDENTIALS_CODES.includes(error.code)) {
    return `The broker at ${url} does not let us in (${reason}). Set MQTT_USERNAME and MQTT_PASSWORD.`;
  }
  return `No broker can be used at ${url} (${reason}). Start one, for example with \`npm start\`, or name another with --broker or MQTT_URL.`;
}
