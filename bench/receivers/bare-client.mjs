// MQTT.js alone: it acknowledges by itself, and the handler counts.
import { connect } from 'mqtt';
import { noteDone, RECEIVE_MAXIMUM, SESSION_EXPIRY_S, settings, startAtFirstMessage } from './receiver.mjs';

const client = connect(settings.mqttUrl, {
  clientId: settings.clientId,
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: SESSION_EXPIRY_S, receiveMaximum: RECEIVE_MAXIMUM },
});
startAtFirstMessage(client);
client.on('message', () => noteDone(1));
client.on('connect', () => client.subscribe(settings.topicFilter, { qos: 1 }));
