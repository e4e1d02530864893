import { join } from 'node:path';

export interface Started {
  seconds: number;
  apiUrl: string;
  databaseUrl: string;
  mqttUrl: string;
  broker: 'mosquitto' | 'aedes' | 'external';
  /** Where HTTP listens. */
  host: string;
  dataDir: string;
  simulating: boolean;
  /** While there is no key yet. */
  setupToken: string | undefined;
}

/** An address without its password: what is somebody else's is not printed in clear. */
export function masked(url: string): string {
  const parsed = new URL(url);
  if (parsed.password !== '') parsed.password = '***';
  return parsed.href;
}

/** The block that `tallystick up` prints once everything is ready: where things are and what to try first. */
export function startBlock(started: Started): string {
  const { hostname, port } = new URL(started.mqttUrl);
  const address = `${hostname === '127.0.0.1' ? '' : ` -h ${hostname}`}${port === '' || port === '1883' ? '' : ` -p ${port}`}`;
  const rows: [string, string][] = [
    ['Swagger UI', `${started.apiUrl}/api/docs`],
    ['API', `${started.apiUrl}/api/v1`],
    ['Broker', `${started.mqttUrl} (${BROKERS[started.broker]})`],
    ['Database', started.databaseUrl],
    ['Data and logs', started.dataDir],
  ];
  const lines = [
    '',
    `Tallystick is ready (${started.seconds.toFixed(1)} s)`,
    '',
    ...rows.map(([name, value]) => `  ${name.padEnd(14)}${value}`),
    '',
    ...notes(started).map((note) => (note === '' ? '' : `  ${note}`)),
    ...firstKey(started),
    started.simulating ? '  Ten simulated energy meters are sending. Look at their batches:' : '  Publish a reading, then look at it:',
    ...(started.simulating
      ? []
      : [`    mosquitto_pub${address} -q 1 -t veep/factory1/line1/METER_0001/data -m '{"deviceId":"METER_0001","kwh":15.7}'`]),
    `    curl -s -H "Authorization: Bearer $TALLYSTICK_API_KEY" '${started.apiUrl}/api/v1/${started.simulating ? 'batches' : 'messages?deviceId=METER_0001'}'`,
    '',
    '  Ctrl-C stops everything; the data stays.',
    '',
  ];
  return lines.join('\n');
}

const BROKERS: Record<Started['broker'], string> = {
  mosquitto: 'Mosquitto, sessions and messages kept on disk',
  aedes: 'embedded aedes',
  external: 'yours',
};

function firstKey({ setupToken, dataDir }: Started): string[] {
  if (setupToken === undefined) return [];
  return [
    '  The API wants a key, and there is none yet. In another terminal:',
    '    export TALLYSTICK_API_KEY=$(npm run -s tallystick -- keys create --label me)',
    `  or, within an hour and once, POST /api/v1/keys with the bearer ${setupToken}`,
    `  (also in ${join(dataDir, 'setup-token')}).`,
    '',
  ];
}

function notes({ broker, host }: Started): string[] {
  const all = [];
  if (broker === 'aedes') {
    all.push(
      'Mosquitto is not installed, so an embedded broker serves: MQTT 3.1.1 only, and messages that were not',
      'stored yet are lost when it stops. For real use install mosquitto and start again.',
      '',
    );
  }
  if (['127.0.0.1', 'localhost', '::1'].includes(host)) {
    all.push('HTTP listens on this machine only. The broker lets everybody in who reaches it: do not expose its port.', '');
  } else {
    all.push(`HTTP listens on ${host} without TLS: keys and data can be read on the way.`, '');
  }
  return all;
}
