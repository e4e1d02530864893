// mqtt + pg, the way of most examples: an insert for each message event. MQTT.js acknowledges before the handler has run, so what
// waits for the pool is lost when the process dies.
import { connect } from 'mqtt';
import pg from 'pg';
import { INSERT_MESSAGE, RowMaker, settings, valuesOf } from './rows.mjs';

const pool = new pg.Pool({ connectionString: settings.databaseUrl });
const rows = new RowMaker((text, values) => pool.query(text, values));
await rows.start();

async function store(topic, payload, packet) {
  const row = rows.rowOf(topic, payload, JSON.parse(payload), packet);
  await rows.device(row);
  await pool.query({ ...INSERT_MESSAGE, values: valuesOf(row) });
}

const client = connect(settings.mqttUrl, { clientId: settings.clientId, clean: false });
client.on('message', (topic, payload, packet) => void store(topic, payload, packet));
client.on('connect', () => client.subscribe(settings.topicFilter, { qos: 1 }));
