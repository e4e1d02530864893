import type { MqttSettings } from '@tallystick/config';
import { connectAsync } from 'mqtt';
import { connectOptions, protocolOptions } from './connect-options.js';

/** Lets the broker forget a session with all that it holds, by a connection that begins anew and expects nothing (MQTT 5 section 3.1.2.4). */
export async function discardSession(settings: MqttSettings, clientId: string, protocolVersion: 4 | 5): Promise<void> {
  const client = await connectAsync(settings.url, {
    ...connectOptions(settings, clientId, 1),
    ...protocolOptions(protocolVersion, 1, 0),
    clean: true,
    reconnectPeriod: 0,
  });
  await client.endAsync();
}
