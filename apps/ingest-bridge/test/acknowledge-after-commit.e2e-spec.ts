import { setTimeout as sleep } from 'node:timers/promises';
import { PacketTrace, startTestBroker, until } from '@tallystick/testing';
import { count, publisher, startBridge } from './bridge.js';

const COMMIT_DELAY_S = 3;

/** A deferred constraint trigger runs inside COMMIT: the rows are written, the transaction is not over. */
const DELAY_COMMIT = `
  CREATE FUNCTION delay_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(${COMMIT_DELAY_S}); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER delay_commit AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION delay_commit()`;

/** What waits for an acknowledgement: not the broker's own state, which comes with QoS 0. */
function deliveries(trace: PacketTrace) {
  return trace.of('broker', 'publish').filter(({ packet }) => packet.cmd === 'publish' && packet.qos > 0);
}

describe('acknowledge after COMMIT', () => {
  it('sends PUBACK only after COMMIT, and keeps the connection alive meanwhile', async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const { sql, app } = await startBridge(trace.url, { MQTT_KEEPALIVE_S: '2' });
    await sql.query(DELAY_COMMIT);

    const device = await publisher(broker.url);
    // The publisher's own PUBACK comes from the broker and is there long before the bridge has stored anything.
    await device.publishAsync('veep/t/s/d/data', '{"kwh":1}', { qos: 1 });
    const [publish] = await until(() => deliveries(trace).length > 0 && deliveries(trace));

    await sleep((COMMIT_DELAY_S - 0.5) * 1000);
    expect(trace.of('client', 'puback')).toEqual([]);
    expect(await count(sql, 'messages')).toBe(0);

    const [puback] = await until(() => trace.of('client', 'puback').length > 0 && trace.of('client', 'puback'));
    expect(await count(sql, 'messages')).toBe(1);
    expect(puback!.packet.messageId).toBe(publish!.packet.messageId);
    expect(puback!.atMs - publish!.atMs).toBeGreaterThanOrEqual(COMMIT_DELAY_S * 1000);
    const duringTheWait = trace.of('broker', 'pingresp').filter(({ atMs }) => atMs > publish!.atMs && atMs < puback!.atMs);
    expect(duringTheWait.length).toBeGreaterThan(0);
    expect(trace.of('client', 'connect')).toHaveLength(1);
    await device.endAsync();
    expect(await app.stop()).toBe(0);
  });

  it('acknowledges nothing while the database refuses, and everything once it takes again', async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const { sql, app } = await startBridge(trace.url);
    await sql.query(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION refuse()`);
    const device = await publisher(broker.url);
    await Promise.all(Array.from({ length: 200 }, (_, i) => device.publishAsync(`veep/t/s/d${i % 7}/data`, `{"i":${i}}`, { qos: 1 })));
    await until(() => deliveries(trace).length === 200);
    await until(async () => (await fetch(`${app.url}/readyz`)).status === 503);
    expect(trace.of('client', 'puback')).toEqual([]);
    expect((await fetch(`${app.url}/livez`)).status).toBe(200);

    await sql.query('DROP TRIGGER refuse ON batches');
    await until(() => trace.of('client', 'puback').length === 200);
    expect(await count(sql, 'messages')).toBe(200);
    expect(await count(sql, 'rejected_messages')).toBe(0);
    const ids = (packets: typeof trace.packets) => packets.map(({ packet }) => packet.messageId);
    expect(ids(trace.of('client', 'puback'))).toEqual(ids(deliveries(trace)));
    await until(async () => (await fetch(`${app.url}/readyz`)).ok);
    await device.endAsync();
  });

  it('stores what it holds, seals and acknowledges on SIGTERM, then says goodbye', async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const { sql, app } = await startBridge(trace.url);
    const device = await publisher(broker.url);
    await Promise.all(Array.from({ length: 50 }, (_, i) => device.publishAsync('veep/t/s/d/data', `${i}`, { qos: 1 })));
    await until(() => trace.of('client', 'puback').length > 0);
    expect(await app.stop()).toBe(0);

    const stored = await count(sql, 'messages');
    expect(trace.of('client', 'puback')).toHaveLength(stored);
    expect(trace.packets.filter(({ from }) => from === 'client').at(-1)!.packet.cmd).toBe('disconnect');
    const { rows } = await sql.query('SELECT status, close_reason, message_count FROM batches');
    expect(rows).toEqual([{ status: 'complete', close_reason: 'shutdown', message_count: stored }]);
    await device.endAsync();
  });
});
