import { type EmbeddedBroker, startAedes } from '@tallystick/embedded';
import { onCleanUp, startTestBroker, until } from '@tallystick/testing';
import { client, endedSessions, OWN_CLIENT, readyWatcher, sessions, startWatcher } from './watcher.js';

const startMosquittoHere = () => startTestBroker({ configLines: ['sys_interval 1'] });

async function startAedesHere(): Promise<EmbeddedBroker> {
  const broker = await startAedes({ port: 0, sysIntervalMs: 1_000 });
  onCleanUp(() => broker.kill());
  return broker;
}

/** `tallystick up` starts the one or the other. */
describe.each([
  ['Mosquitto', startMosquittoHere],
  ['aedes', startAedesHere],
])('the embedded broker, %s', (_, startBroker) => {
  it('tells the watcher of its clients and of itself', async () => {
    const broker = await startBroker();
    const { app, sql } = await startWatcher(broker.url);
    const polite = await client(broker.url, 'polite', { username: 'alice' });
    await polite.subscribeAsync('+/orders 1 x', { qos: 1 });
    await client(broker.url, 'twin');
    const twin = await client(broker.url, 'twin', { clean: false });
    await polite.endAsync();
    twin.stream.destroy();
    const rows = await endedSessions(sql, '%', 3);
    expect(rows.map(({ client: id, username, end_reason }) => [id, username, end_reason]).sort()).toEqual([
      ['polite', 'alice', 'clean_disconnect'],
      ['twin', null, 'network'],
      ['twin', null, 'taken_over'],
    ]);
    expect(rows.every((row) => row.protocol_version === 4 && !row.start_uncertain && !row.end_uncertain)).toBe(true);
    const { rows: peers } = await sql.query(`SELECT DISTINCT address, port > 0 AS has_port FROM sessions WHERE client <> $1`, [OWN_CLIENT]);
    expect(peers).toEqual([{ address: '127.0.0.1', has_port: true }]);
    const { rows: topics } = await sql.query(`SELECT topic, qos FROM subscriptions WHERE client = 'polite'`);
    expect(topics).toEqual([{ topic: '+/orders 1 x', qos: 1 }]);
    const metrics = async () => {
      const found = await sql.query<{ metric: string }>(`SELECT DISTINCT metric FROM broker_metrics`);
      return found.rows.length >= 40 && found.rows.map((row) => row.metric);
    };
    expect(await until(metrics)).toEqual(expect.arrayContaining(['uptime', 'clients/connected', 'load/messages/received/1min']));
    expect((await sql.query(`SELECT FROM events WHERE action = 'unknown' AND raw NOT LIKE '%mosquitto version%'`)).rowCount).toBe(0);
    expect(await app.stop()).toBe(0);
  });
});

describe('aedes, which keeps no line for a watcher that is away', () => {
  it('leaves a gap, however short the absence', async () => {
    const broker = await startAedesHere();
    const { app, sql, env } = await startWatcher(broker.url);
    const leaves = await client(broker.url, 'leaves');
    await until(async () => (await sessions(sql, 'leaves')).length === 1);
    // so that the database knows of this broker
    await until(async () => (await sql.query(`SELECT FROM broker_state WHERE version LIKE 'aedes %'`)).rowCount === 1);
    await app.kill();
    await leaves.endAsync();
    const again = await readyWatcher(env);
    const gaps = async () => (await sql.query<{ reason: string }>(`SELECT reason FROM observation_gaps`)).rows;
    expect(await until(async () => (await gaps()).length > 0 && (await gaps()))).toEqual([{ reason: 'watcher_down' }]);
    expect(await sessions(sql, 'leaves')).toMatchObject([{ is_open: true, end_uncertain: true }]);
    expect(await again.stop()).toBe(0);
  });
});
