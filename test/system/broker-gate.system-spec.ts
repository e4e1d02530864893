import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanUp, type RunningApp, until } from '@tallystick/testing';
import pg from 'pg';
import { metric } from './bridge-under-test.js';
import { compare, SteadyPublisher, totals } from './broker-ledger.js';
import { ComposeProject } from './compose-project.js';
import { form, report } from './fault-run.js';

const RESTARTS = form(3, 10);
const RATE_PER_S = 100;
const METERS = [1, 2, 3].map((meter) => `factory1/line1/METER_000${meter}`);
const passwordOf = (user: string) => `password of ${user}`;

describe('the broker of docker-compose.yml under bridges of a group', () => {
  it(`is started, and ${RESTARTS} times again, while devices try to connect all the time: none lost, none doubled`, async () => {
    const project = await ComposeProject.start(Object.fromEntries(METERS.map((user) => [user, passwordOf(user)])));
    const { broker } = project;
    const sql = new pg.Client({ connectionString: project.databaseUrl });
    await sql.connect();
    onCleanUp(() => sql.end());
    expect((await project.runToEnd('migrate')).code).toBe(0);

    const publishers = METERS.map((username) => {
      const login = { username, password: passwordOf(username) };
      return new SteadyPublisher(broker.devicesUrl, RATE_PER_S, () => `veep/${username}/data`, login);
    });
    const acknowledged = () => publishers.reduce((sum, publisher) => sum + publisher.acknowledged.length, 0);
    for (const publisher of publishers) publisher.start();
    onCleanUp(() => Promise.all(publishers.map((publisher) => publisher.stop())));
    await sleep(1_000);
    expect(acknowledged()).toBe(0);

    const bridges = await Promise.all([project.start('ingest-bridge'), project.start('ingest-bridge')]);
    for (const bridge of bridges) await bridge.waitForReady(60_000);
    const backAfterMs: number[] = [];
    for (let restart = 1; restart <= RESTARTS; restart++) {
      const before = acknowledged();
      await until(() => acknowledged() > before + 6 * RATE_PER_S * METERS.length, { timeoutMs: 30_000 });
      expect(await broker.stop()).toBe(0);
      const stopped = acknowledged();
      await broker.startAgain();
      const startedAtMs = performance.now();
      await until(() => acknowledged() > stopped, { timeoutMs: 30_000 });
      backAfterMs.push(Math.round(performance.now() - startedAtMs));
    }
    await sleep(1_000);
    await Promise.all(publishers.map((publisher) => publisher.stop()));
    const published = {
      acknowledged: publishers.flatMap((publisher) => publisher.acknowledged),
      inDoubt: publishers.flatMap((publisher) => publisher.inDoubt),
    };
    await until(async () => (await compare(sql, published)).lost === 0, { timeoutMs: 20_000, intervalMs: 200 }).catch(() => undefined);
    for (const bridge of bridges) await until(async () => (await metric(bridge, 'mqtt_messages_unacknowledged')) === 0);
    expect(await compare(sql, published)).toEqual({ lost: 0, doubled: 0, unknown: 0 });
    const { rows, ...sums } = await totals(sql);
    expect(sums).toEqual({ inBatches: rows, ofDevices: rows, failedBatches: 0 });

    // A bridge says that it lost the broker, why it is not let in yet, and not every time.
    for (const bridge of bridges) expect(triesNamed(bridge)).toBeLessThanOrEqual(4 * RESTARTS);
    expect(broker.log.match(/A bridge has subscribed: devices are let in now\./g)).toHaveLength(RESTARTS + 1);
    report('restarts of the broker under a group', {
      acknowledged: acknowledged(),
      inDoubt: published.inDoubt.length,
      stored: rows,
      slowestBackAfterMs: Math.max(...backAfterMs),
    });
    console.log({ acknowledged: acknowledged(), inDoubt: published.inDoubt.length, stored: rows, backAfterMs });
    for (const bridge of bridges) expect(await bridge.stop()).toBe(0);
  }, 240_000);
});

function triesNamed(app: RunningApp): number {
  return app.logs.filter(({ message }) => /^broker: |reconnect/.test(String(message))).length;
}
