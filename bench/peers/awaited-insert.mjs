// mqtt + pg, lossless: the insert is awaited in handleMessage, so MQTT.js acknowledges a message only when it is stored. It reads
// nothing meanwhile: one message at a time. After a crash, what the broker had no acknowledgement of comes again and is stored twice.
import { connect } from 'mqtt';
import pg from 'pg';
import { INSERT_MESSAGE, RowMaker, settings, valuesOf } from './rows.mjs';

const pool = new pg.Pool({ connectionString: settings.databaseUrl });
const rows = new RowMaker((text, values) => pool.query(text, values));
await rows.start();

async function store({ topic, payload, ...packet }) {
  const row = rows.rowOf(topic, payload, JSON.parse(payload), packet);
  await rows.device(row);
  await pool.query({ ...INSERT_MESSAGE, values: valuesOf(row) });
}

const client = connect(settings.mqttUrl, { clientId: settings.clientId, clean: false });
client.handleMessage = (packet, done) => store(packet).then(() => done(), done);
client.on('connect', () => client.subscribe(settings.topicFilter, { qos: 1 }));
