import type { MqttSettings } from '@tallystick/config';
import { connectAsync } from 'mqtt';
import { connectOptions, protocolOptions } from './connect-options.js';
import { sayGoodbye } from './say-goodbye.js';

/**
 * Lets the broker forget a session with all that it holds, by a connection that begins anew and expects nothing (MQTT 5 section 3.1.2.4).
 * Throws when the broker does not accept it.
 */
export async function discardSession(settings: MqttSettings, clientId: string, protocolVersion: 4 | 5): Promise<void> {
  const options = { ...connectOptions(settings, clientId, 1), ...protocolOptions(protocolVersion, 1, 0), clean: true, reconnectPeriod: 0 };
  // Without retries: only then a connection that is closed before CONNACK is an error and not waited for.
  const client = await connectAsync(settings.url, options, false);
  await sayGoodbye(client);
}
