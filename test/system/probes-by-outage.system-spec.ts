import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectedMigrations } from '@tallystick/persistence';
import { type RunningApp, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import pg from 'pg';
import { ComposeProject } from './compose-project.js';
import { report } from './fault-run.js';
import { query } from './record-oracle.js';

const SERVICES = ['ingest-bridge', 'broker-watcher', 'api'] as const;
type Service = (typeof SERVICES)[number];
const LOGINS = { 'ingest-bridge': 'tallystick_ingest_login', 'broker-watcher': 'tallystick_watcher_login', api: 'tallystick_api_login' };

const METER = 'factory1/line1/METER_0001';
const DEVICES = { [METER]: 'password of the meter' };
/** What /readyz answers with 503 while /health names these checks with this reason; undefined: 200 all the time. */
type NotReady = { checks: string[]; reason: string } | undefined;

interface Outage {
  name: string;
  /** In the reasons, `<database>` and `<broker>` are addresses, `<migration>` a name. */
  expected: Record<Service, NotReady>;
  begin: () => unknown;
  end: () => unknown;
  /** A device connects and publishes: there is something to store. */
  withTraffic?: boolean;
}

const NO_ANSWER = 'no answer within 1000 ms';
const NO_DATABASE = 'connect ECONNREFUSED <database>';
const NO_BROKER = { checks: ['broker'], reason: 'connect ECONNREFUSED <broker>' };
const BROKER_REFUSES = { checks: ['broker'], reason: 'Connection refused: Not authorized' };
const OLD_SCHEMA = {
  checks: ['database'],
  reason: 'The database schema is older than this version needs (missing: <migration>). Run `tallystick migrate` first.',
};
const DRAINING = { checks: ['lifecycle'], reason: 'draining' };

/** docs/operations.md has it too. */
const OUTAGES: Outage[] = [
  {
    name: 'The database is stopped',
    expected: {
      'ingest-bridge': { checks: ['database', 'writer'], reason: NO_DATABASE },
      'broker-watcher': { checks: ['database', 'recorder'], reason: NO_DATABASE },
      api: { checks: ['database'], reason: NO_DATABASE },
    },
    begin: () => project.stopDatabase(),
    withTraffic: true,
    end: () => project.startDatabase(),
  },
  {
    name: 'The database hangs',
    expected: {
      'ingest-bridge': { checks: ['database'], reason: NO_ANSWER },
      'broker-watcher': { checks: ['database'], reason: NO_ANSWER },
      api: { checks: ['database'], reason: NO_ANSWER },
    },
    begin: () => project.signalDatabase('SIGSTOP'),
    end: () => project.signalDatabase('SIGCONT'),
  },
  {
    name: 'The database refuses the password of the bridge',
    expected: {
      'ingest-bridge': { checks: ['database', 'writer'], reason: `password authentication failed for user "${LOGINS['ingest-bridge']}"` },
      'broker-watcher': undefined,
      api: undefined,
    },
    begin: () => alterLogin('ingest-bridge', `PASSWORD 'another'`),
    withTraffic: true,
    end: () => alterLogin('ingest-bridge', `PASSWORD '${project.secret('database_ingest_bridge')}'`),
  },
  {
    name: 'The login of the watcher is revoked (`NOLOGIN`)',
    expected: {
      'ingest-bridge': undefined,
      'broker-watcher': { checks: ['database', 'recorder'], reason: `role "${LOGINS['broker-watcher']}" is not permitted to log in` },
      api: undefined,
    },
    begin: () => alterLogin('broker-watcher', 'NOLOGIN'),
    withTraffic: true,
    end: () => alterLogin('broker-watcher', 'LOGIN'),
  },
  {
    name: 'The login of the API is no member of its role',
    expected: {
      'ingest-bridge': undefined,
      'broker-watcher': undefined,
      api: { checks: ['database'], reason: 'permission denied for table migrations' },
    },
    begin: () => sql(`REVOKE tallystick_api FROM ${LOGINS.api}`),
    end: () => sql(`GRANT tallystick_api TO ${LOGINS.api}`),
  },
  {
    name: 'A migration is missing (an older dump was restored)',
    expected: { 'ingest-bridge': OLD_SCHEMA, 'broker-watcher': OLD_SCHEMA, api: OLD_SCHEMA },
    begin: () => sql('DELETE FROM migrations WHERE name = $1', [LAST_MIGRATION]),
    end: () => sql('INSERT INTO migrations (timestamp, name) VALUES (0, $1)', [LAST_MIGRATION]),
  },
  {
    name: 'The broker is stopped',
    expected: { 'ingest-bridge': NO_BROKER, 'broker-watcher': NO_BROKER, api: undefined },
    begin: () => project.broker.stop(),
    end: () => project.broker.startAgain(),
  },
  {
    name: 'The broker refuses the password of the bridge',
    expected: { 'ingest-bridge': BROKER_REFUSES, 'broker-watcher': undefined, api: undefined },
    begin: () => project.broker.changePassword('mqtt_ingest_bridge', 'another'),
    end: () => project.broker.changePassword('mqtt_ingest_bridge', project.secret('mqtt_ingest_bridge')),
  },
  {
    name: 'The broker refuses the password of the watcher',
    expected: { 'ingest-bridge': undefined, 'broker-watcher': BROKER_REFUSES, api: undefined },
    begin: () => project.broker.changePassword('mqtt_broker_watcher', 'another'),
    end: () => project.broker.changePassword('mqtt_broker_watcher', project.secret('mqtt_broker_watcher')),
  },
];

/** A service that is started so does not wait: what mends it is a `migrate`. */
const OLD_START = { name: 'It is started without a migration', answer: 'ends with exit code 65' };
/** Ends with 0 when all that was under way is done. */
const STOP = { name: 'It is asked to stop (SIGTERM)', expected: { 'ingest-bridge': DRAINING, 'broker-watcher': DRAINING, api: DRAINING } };

const LAST_MIGRATION = expectedMigrations().at(-1)!;
/** How long an outage lasts at least beyond the first answer that is right. */
const HELD_MS = 500;
const NOTICED_WITHIN_MS = 20_000;
const RECOVERED_WITHIN_MS = 30_000;
const LET_IN_WITHIN_MS = 20_000;

let project: ComposeProject;
const running = new Map<Service, ProbedApp>();
let published = 0;

beforeAll(async () => {
  project = await ComposeProject.start(DEVICES);
  expect((await project.runToEnd('migrate')).code).toBe(0);
  for (const app of await Promise.all(SERVICES.map((name) => project.start(name)))) running.set(app.name as Service, new ProbedApp(app));
  for (const { app } of running.values()) await app.waitForReady(60_000);
}, 120_000);

afterAll(async () => {
  for (const app of running.values()) await app.unwatch();
});

describe('probes, outage by outage', () => {
  it.each(OUTAGES)(
    '$name',
    async ({ name, expected, begin, end, withTraffic }) => {
      const sinceMs = performance.now();
      let noticedAtMs: number;
      try {
        await begin();
        if (withTraffic) await publish();
        await untilHealthIs(expected);
        noticedAtMs = performance.now();
        const said = await readinessFrom(noticedAtMs);
        for (const service of SERVICES)
          expect([service, said[service]]).toEqual([service, [expected[service] ? '503 not ready' : '200 ok']]);
      } finally {
        await end();
      }
      const endedAtMs = performance.now();
      for (const { app } of running.values()) await app.waitForReady(RECOVERED_WITHIN_MS);
      const readyAgainAfterMs = performance.now() - endedAtMs;
      expect(await healths()).toEqual({ 'ingest-bridge': [], 'broker-watcher': [], api: [] });
      await expectAtWork();
      const alive = expectAlive(sinceMs);
      for (const service of SERVICES.filter((service) => !expected[service]))
        expect([service, [...new Set(running.get(service)!.answers('readyz', sinceMs))]]).toEqual([service, ['200 ok']]);
      report(`probes: ${name}`, {
        alive,
        notReadyAfterMs: Math.round(noticedAtMs - sinceMs),
        readyAgainAfterMs: Math.round(readyAgainAfterMs),
      });
    },
    NOTICED_WITHIN_MS + RECOVERED_WITHIN_MS + LET_IN_WITHIN_MS + 10_000,
  );

  it(`${OLD_START.name}: ${OLD_START.answer}`, async () => {
    await sql('DELETE FROM migrations WHERE name = $1', [LAST_MIGRATION]);
    try {
      const started = await Promise.all(SERVICES.map((name) => project.start(name)));
      expect(await Promise.all(started.map(async (app) => [app.name, (await app.exited).code]))).toEqual(
        SERVICES.map((name) => [name, 65]),
      );
      for (const app of started) expect(app.logs.at(-1)).toMatchObject({ level: 'fatal', error: { message: concrete(OLD_SCHEMA.reason) } });
    } finally {
      await sql('INSERT INTO migrations (timestamp, name) VALUES (0, $1)', [LAST_MIGRATION]);
    }
  }, 60_000);

  it(
    STOP.name,
    async () => {
      const key = await project.createKey();
      // Nothing that is under way ends before this does.
      const blocker = new pg.Client({ connectionString: project.databaseUrl });
      blocker.on('error', () => undefined);
      await blocker.connect();
      await blocker.query('BEGIN; LOCK TABLE messages, events IN ACCESS EXCLUSIVE MODE');
      await publish();
      const asked = fetch(`${running.get('api')!.app.url}/api/v1/messages?deviceId=METER_0001`, {
        headers: { authorization: `Bearer ${key}` },
      });
      const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = $1`;
      for (const login of Object.values(LOGINS)) await until(async () => (await sql(waiting, [login])).length > 0);

      const sinceMs = performance.now();
      const stopping = [...running.values()].map(({ app }) => app.stop());
      await untilHealthIs(STOP.expected);
      const draining = ['503 draining'];
      expect(await readinessFrom(performance.now())).toEqual({ 'ingest-bridge': draining, 'broker-watcher': draining, api: draining });
      expect(await healths()).toEqual(checksOf(STOP.expected));
      const alive = expectAlive(sinceMs);
      for (const app of running.values()) await app.unwatch();
      await blocker.query('ROLLBACK');
      await blocker.end();
      expect((await asked).status).toBe(200);
      expect(await Promise.all(stopping)).toEqual([0, 0, 0]);
      report(`probes: ${STOP.name}`, { alive });
    },
    60_000,
  );

  it('are in docs/operations.md as they are here', () => {
    const text = readFileSync('docs/operations.md', 'utf8').replaceAll(/ +/g, ' ');
    const rows = [...OUTAGES, STOP].map(({ name, expected }) => [name, ...SERVICES.map((service) => cell(expected[service]))]);
    for (const row of [...rows, [OLD_START.name, ...SERVICES.map(() => OLD_START.answer)]])
      expect(text).toContain(`\n| ${row.join(' | ')} |\n`);
  });
});

/** Asks an app for /livez and /readyz all the time, as its supervisor does. */
class ProbedApp {
  private readonly given: { probe: string; atMs: number; text: string }[] = [];
  private readonly asking: Promise<void>[];
  private isOver = false;

  constructor(readonly app: RunningApp) {
    this.asking = ['livez', 'readyz'].map((probe) => this.ask(probe));
  }

  /** What was answered, as `200 ok`, to those asked from then on. */
  answers(probe: string, fromMs: number): string[] {
    return this.given.filter((answer) => answer.probe === probe && answer.atMs >= fromMs).map(({ text }) => text);
  }

  /** The checks that are down, each with its reason. */
  async health(): Promise<[check: string, reason: string][]> {
    const response = await fetch(`${this.app.url}/health`);
    const { error } = (await response.json()) as { error: Record<string, { reason: string }> };
    return Object.entries(error).map(([check, { reason }]) => [check, reason]);
  }

  async unwatch(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.asking);
  }

  private async ask(probe: string): Promise<void> {
    for (; !this.isOver; await sleep(50)) {
      const atMs = performance.now();
      try {
        // The limit of the compose file's health check.
        const response = await fetch(`${this.app.url}/${probe}`, { signal: AbortSignal.timeout(5_000) });
        this.given.push({ probe, atMs, text: `${response.status} ${await response.text()}` });
      } catch (error) {
        this.given.push({ probe, atMs, text: String((error as Error).cause ?? error) });
      }
    }
  }
}

function sql<Row>(text: string, values?: unknown[]): Promise<Row[]> {
  return query<Row>(project.databaseUrl, text, values);
}

/** Changes a login and ends its connections: those that are there would go on. */
async function alterLogin(service: Service, change: string): Promise<void> {
  await sql(`ALTER ROLE ${LOGINS[service]} ${change}`);
  await sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [LOGINS[service]]);
}

/** Ready is what it says: what is published now, and what waited, is stored. */
async function expectAtWork(): Promise<void> {
  await publish();
  const stored = async () => (await sql<{ count: number }>('SELECT count(*)::int AS count FROM messages'))[0]!.count;
  await until(async () => (await stored()) === published);
}

/** The broker has it when this resolves. */
async function publish(): Promise<void> {
  published += 1;
  // A device tries again: it is let in as soon as a bridge has subscribed, which is a moment after that is ready, and seen up to 10 s late.
  const login = { username: METER, password: DEVICES[METER], reconnectPeriod: 0 };
  const device = await until(() => connectAsync(project.broker.devicesUrl, login), { timeoutMs: LET_IN_WITHIN_MS });
  await device.publishAsync(`veep/${METER}/data`, '{"deviceId":"METER_0001","kwh":15.7}', { qos: 1 });
  await device.endAsync();
}

async function healths(): Promise<Record<string, [string, string][]>> {
  return Object.fromEntries(await Promise.all([...running].map(async ([service, app]) => [service, await app.health()] as const)));
}

/** Waits until exactly the expected checks are down, for the expected reasons; shows what is there when that does not come. */
async function untilHealthIs(expected: Record<Service, NotReady>): Promise<void> {
  const [wanted, givenUpAtMs] = [checksOf(expected), performance.now() + NOTICED_WITHIN_MS];
  let found = await healths();
  for (; JSON.stringify(found) !== JSON.stringify(wanted) && performance.now() < givenUpAtMs; found = await healths()) await sleep(50);
  expect(found).toEqual(wanted);
}

/** What each service answers on /readyz to those that ask from then on: all different answers of some time, two of each service at least. */
async function readinessFrom(fromMs: number): Promise<Record<string, string[]>> {
  await sleep(HELD_MS);
  await until(() => [...running.values()].every((app) => app.answers('readyz', fromMs).length >= 2));
  return Object.fromEntries([...running].map(([service, app]) => [service, [...new Set(app.answers('readyz', fromMs))]]));
}

function checksOf(expected: Record<Service, NotReady>): Record<string, [string, string][]> {
  const down = ({ checks, reason }: Exclude<NotReady, undefined>) => checks.map((check): [string, string] => [check, concrete(reason)]);
  return Object.fromEntries(SERVICES.map((service) => [service, expected[service] ? down(expected[service]) : []]));
}

function concrete(reason: string): string {
  return reason
    .replace('<database>', `127.0.0.1:${project.databasePort}`)
    .replace('<broker>', new URL(project.broker.servicesUrl).host)
    .replace('<migration>', LAST_MIGRATION);
}

/** How many answers of /livez there were, of all services; each of them was 200. */
function expectAlive(sinceMs: number): number {
  let count = 0;
  for (const service of SERVICES) {
    const answers = running.get(service)!.answers('livez', sinceMs);
    expect(answers.length).toBeGreaterThan(3);
    expect([service, [...new Set(answers)]]).toEqual([service, ['200 ok']]);
    count += answers.length;
  }
  return count;
}

/** A cell of the table in docs/operations.md. */
function cell(expected: NotReady): string {
  if (!expected) return 'ready';
  const fence = expected.reason.includes('`') ? '``' : '`';
  return `${expected.checks.map((check) => `\`${check}\``).join(', ')}: ${fence}${expected.reason}${fence}`;
}
