import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { MqttSettings } from '@tallystick/config';
import { shownUrl } from './broker-connection.js';
import { Fleet } from './fleet.js';
import { MqttPublisher } from './mqtt-publisher.js';
import { Pace } from './pace.js';
import { ProgressReport, type TextStream } from './progress-report.js';
import type { SimulationPlan } from './simulation-options.js';
import { resultLines, type SimulationResult } from './simulation-result.js';
import { MessagesInApi, MessagesInDatabase, type StoredMessages } from './stored-messages.js';

/** Fewer wake-ups than messages at high rates. */
const SHORTEST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1_000;
/** A broker that is away or silent for so long will not come back in time for whoever waits. */
const GIVE_UP_MS = 60_000;
const GIVE_UP_WHEN_STOPPED_MS = 5_000;
/** The record is behind the broker: it may take this long without a further message in it. */
const STORED_PATIENCE_MS = 10_000;
const STORED_INTERVAL_MS = 250;

export interface SimulationOptions extends SimulationPlan {
  mqtt: MqttSettings;
  /** Asked for what is stored; before `api`. */
  databaseUrl?: string | undefined;
  api?: string | undefined;
  apiKey?: string | undefined;
}

export interface SimulationOutput {
  /** What it does and how far it is. */
  progress: TextStream;
  /** The final count. */
  result: TextStream;
}

/**
 * Publishes readings of simulated energy meters and counts what became of them. At `stop` it publishes no more, waits for what is
 * in flight and counts. Throws BrokerUnavailableError or RecordUnavailableError, before anything is published.
 */
export async function simulate(
  options: SimulationOptions,
  output: SimulationOutput,
  stop: AbortSignal = new AbortController().signal,
): Promise<SimulationResult> {
  const run = randomBytes(6).toString('hex');
  const record = await openRecord(options, run);
  const publisher = await MqttPublisher.connect(options.mqtt, `tallystick-simulate-${run}`, options.qos);
  output.progress.write(`${announcement(options, publisher, run)}\n`);
  const startedAtMs = performance.now();
  let elapsedMs: number;
  const progress = new ProgressReport(output.progress, publisher);
  try {
    await publishAll(options, publisher, new Fleet({ ...options, run }), stop);
    await waitForAnswers(publisher, stop);
    elapsedMs = performance.now() - startedAtMs;
  } finally {
    progress.stop();
    await publisher.close();
  }
  const counted = record && (await countStored(record, publisher.counts.acknowledged, output.progress));
  const result = { ...publisher.counts, run, stored: undefined, ...counted, elapsedMs, interrupted: stop.aborted };
  output.result.write(`${resultLines(result).join('\n')}\n`);
  return result;
}

async function openRecord(options: SimulationOptions, run: string): Promise<StoredMessages | undefined> {
  if (options.databaseUrl !== undefined) return MessagesInDatabase.open(options.databaseUrl, run, Date.now());
  if (options.api !== undefined) return MessagesInApi.open(options.api, options, options.apiKey);
  return undefined;
}

async function publishAll(plan: SimulationPlan, publisher: MqttPublisher, fleet: Fleet, stop: AbortSignal): Promise<void> {
  const pace = new Pace(plan.rate, performance.now());
  let left = plan.count === 0 ? Infinity : plan.count;
  while (left > 0 && !stop.aborted && !silentFor(publisher, GIVE_UP_MS)) {
    const now = performance.now();
    const amount = Math.min(left, pace.due(now), publisher.room);
    for (let sent = 0; sent < amount; sent++) publisher.publish(fleet.next(Date.now()));
    pace.take(amount);
    left -= amount;
    if (left > 0) await pause(publisher, pace, stop);
  }
}

/** Until there is room, or until the next message is due. */
async function pause(publisher: MqttPublisher, pace: Pace, stop: AbortSignal): Promise<void> {
  if (publisher.room === 0) {
    await publisher.change(LONGEST_PAUSE_MS, stop);
    // Acknowledgements come many at a time: let all of them make room before publishing again.
    await nextTurn();
    return;
  }
  const ms = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, pace.msUntilNext(performance.now())));
  await sleep(ms, undefined, { signal: stop }).catch(() => undefined);
}

async function waitForAnswers(publisher: MqttPublisher, stop: AbortSignal): Promise<void> {
  while (publisher.inFlight > 0 && !silentFor(publisher, stop.aborted ? GIVE_UP_WHEN_STOPPED_MS : GIVE_UP_MS)) {
    await publisher.change(LONGEST_PAUSE_MS, stop.aborted ? undefined : stop);
  }
}

function silentFor(publisher: MqttPublisher, limitMs: number): boolean {
  return publisher.quietMs > limitMs;
}

/** Asks until as many are stored as were acknowledged, or no more come. Asking takes at most half of the record's time. */
async function countStored(record: StoredMessages, acknowledged: number, progress: TextStream): Promise<Counted> {
  let counted = await tryToCount(record);
  if (isShort(counted, acknowledged)) progress.write('Waiting until all of them are stored …\n');
  for (let roseAtMs = performance.now(); isShort(counted, acknowledged) && performance.now() - roseAtMs < STORED_PATIENCE_MS;) {
    await sleep(STORED_INTERVAL_MS);
    const askedAtMs = performance.now();
    const before = counted.stored;
    counted = await tryToCount(record);
    if (counted.stored !== undefined && counted.stored > (before ?? 0)) roseAtMs = performance.now();
    await sleep(performance.now() - askedAtMs);
  }
  return counted;
}

type Counted = Pick<SimulationResult, 'stored' | 'recordProblem'>;

function isShort({ stored }: Counted, acknowledged: number): boolean {
  return stored === undefined || stored < acknowledged;
}

/** A record that is away for a moment must not cost the final count of the rest. */
async function tryToCount(record: StoredMessages): Promise<Counted> {
  try {
    return { stored: await record.count() };
  } catch (error) {
    return { stored: undefined, recordProblem: (error as Error).message || String((error as { code?: unknown }).code) };
  }
}

function announcement(options: SimulationOptions, publisher: MqttPublisher, run: string): string {
  const { devices, tenants, rate, count, topicRoot } = options;
  const pace = rate === 0 ? 'as fast as it acknowledges' : `${rate} messages/s`;
  const end = count === 0 ? 'until Ctrl-C' : `${count} messages`;
  return (
    `Simulating ${devices} ${devices === 1 ? 'device' : 'devices'} of ${tenants} ${tenants === 1 ? 'tenant' : 'tenants'}: ` +
    `${topicRoot}/factory…/line…/METER_…/data to ${shownUrl(options.mqtt.url)} (${publisher.protocolName}, QoS ${options.qos}), ` +
    `${pace}, ${end}. Run ${run}.`
  );
}
