import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '@tallystick/embedded';
import { createDataSource, migrate } from '@tallystick/persistence';
import { onCleanUp, type RunningApp, startApp, until } from '@tallystick/testing';
import { countRows } from './record-oracle.js';

/** The bridge against this database and broker, ready. */
export async function startBridge(databaseUrl: string, mqttUrl: string, env: Record<string, string> = {}): Promise<RunningApp> {
  const app = await startApp('ingest-bridge', bridgeEnv(databaseUrl, mqttUrl, env));
  await app.waitForReady();
  return app;
}

export function bridgeEnv(databaseUrl: string, mqttUrl: string, env: Record<string, string> = {}): Record<string, string> {
  return { DATABASE_URL: databaseUrl, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: mqttUrl, ...env };
}

/** A PostgreSQL that a spec may stop: crash-safe, in a folder of its own, with the whole schema. */
export class DatabaseServer {
  private constructor(
    private readonly dataDir: string,
    private server: EmbeddedPostgres,
  ) {}

  static async start(dir = mkdtempSync(join(tmpdir(), 'tallystick-database-'))): Promise<DatabaseServer> {
    const dataDir = join(dir, 'data');
    const database = new DatabaseServer(dataDir, await startEmbeddedPostgres({ dataDir, port: 0, durable: true }));
    onCleanUp(async () => {
      await database.stop('immediate');
      rmSync(dir, { recursive: true, force: true });
    });
    const dataSource = await createDataSource(database.url, { poolSize: 2 }).initialize();
    await migrate(dataSource);
    await dataSource.destroy();
    return database;
  }

  get url(): string {
    return this.server.url;
  }

  get port(): number {
    return this.server.port;
  }

  /** The same database by way of another port. */
  urlVia(port: number): string {
    return Object.assign(new URL(this.url), { port: String(port) }).href;
  }

  /** User and group that the server runs as. */
  owner(): [uid: number, gid: number] {
    const { uid, gid } = statSync(this.dataDir);
    return [uid, gid];
  }

  /** `immediate` is what a power cut is to the database. */
  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    await this.server.stop(mode);
  }

  /** On the same port, with what had been committed. */
  async startAgain(): Promise<void> {
    this.server = await startEmbeddedPostgres({ dataDir: this.dataDir, port: this.port, durable: true });
  }
}

/** The value of each series of /metrics. */
export async function readMetrics(app: RunningApp): Promise<Map<string, number>> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(series.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

export async function metric(app: RunningApp, series: string): Promise<number> {
  const value = (await readMetrics(app)).get(series);
  if (value === undefined) throw new Error(`there is no series ${series}`);
  return value;
}

/** received - (stored + rejected + duplicate + abandoned + dropped + in flight): 0 at any time. */
export async function unaccounted(app: RunningApp): Promise<number> {
  const metrics = await readMetrics(app);
  let difference = metrics.get('mqtt_messages_received_total')! - metrics.get('ingest_in_flight_messages')!;
  for (const [series, value] of metrics) if (series.startsWith('mqtt_messages_processed_total{')) difference -= value;
  return difference;
}

export async function status(app: RunningApp, probe: 'livez' | 'readyz'): Promise<number> {
  const response = await fetch(`${app.url}/${probe}`, { signal: AbortSignal.timeout(3_000) });
  await response.arrayBuffer();
  return response.status;
}

/** Waits until there are at least so many rows and nothing is in flight. */
export async function untilStored(app: RunningApp, databaseUrl: string, rows: number, timeoutMs = 60_000): Promise<void> {
  await until(async () => (await countRows(databaseUrl)) >= rows, { timeoutMs, intervalMs: 200 });
  await until(async () => (await metric(app, 'mqtt_messages_unacknowledged')) === 0, { timeoutMs: 10_000 });
}

/** Resident memory of a process, in MB. */
export function residentMb(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Number(kilobytes) / 1024;
}
