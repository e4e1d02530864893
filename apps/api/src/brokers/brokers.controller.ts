import { Controller, Get, Header, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database, type Reader } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import { type CursorKey } from '../http/cursor.js';
import type { JsonText } from '../http/json-text.js';
import { ListRequest, type Page } from '../http/list.js';
import { invalidParameter, Problem } from '../http/problem.js';
import { timeRange } from '../http/time-range.js';
import { BrokerDetails, BrokerDiagnostics, BrokerPage, BrokerPath, type BrokerSummary, GapPage, GapsQuery } from './brokers.dto.js';
import { findBroker, findDetails, findDiagnostics, listBrokers, listGaps } from './brokers.queries.js';
import { ClientDetails, ClientPath } from './client-details.dto.js';
import { findClientDetails } from './client-details.queries.js';
import { isCounter } from './counter-points.js';
import { bucketCount, bucketSpan, MOST_BUCKETS } from './event-buckets.js';
import { EventCounts, EventCountsQuery } from './event-counts.dto.js';
import { countEvents } from './event-counts.queries.js';
import { EventPage, EventsQuery } from './events.dto.js';
import { listEvents } from './events.queries.js';
import { MAX_SERIES_DAYS, MetricPage, MetricPath, MetricSeries, type SeriesKind, SeriesQuery } from './metrics.dto.js';
import { findSeries, listMetrics } from './metrics.queries.js';
import { PopularityPage } from './popularity.dto.js';
import { listPopularity } from './popularity.queries.js';
import { MOST_POINTS } from './series-plan.js';
import { SessionStatsPage, SessionStatsQuery } from './session-stats.dto.js';
import { listClientStats, listDayStats, STATS_KEYS } from './session-stats.queries.js';
import { ClientPage, ClientsQuery, SessionPage, SessionsQuery } from './sessions.dto.js';
import { listClients, listSessions } from './sessions.queries.js';
import { MatchPage, MatchQuery } from './subscription-matches.dto.js';
import { listMatches } from './subscription-matches.queries.js';
import { SubscriptionPage, SubscriptionsQuery } from './subscriptions.dto.js';
import { listSubscriptions } from './subscriptions.queries.js';

/** What a series has when nobody says how long its steps are to be. */
const USUAL_POINTS = 500;
/** A broker counts in rounds, usually every 10 s: a shorter step would show the rounds. */
const SHORTEST_USUAL_STEP_MS: Readonly<Record<SeriesKind, number>> = { value: 1_000, rate: 60_000, delta: 60_000 };
/** All sessions of the range are read to find who had most, and in order of time to find who flapped. */
const MAX_STATS_DAYS = 366;
const MAX_STATS_DAYS_OF_ALL = 31;
const MAX_FLAPPING_DAYS_OF_ALL = 7;

/** What brokers have said about themselves, as their watchers recorded it. */
@ApiTags('brokers')
@Controller('api/v1/brokers')
@Access('broker:read')
export class BrokersController {
  constructor(private readonly database: Database) {}

  /**
   * Lists the brokers that have a watcher, by name.
   * @remarks A broker is here under the name that its watcher gives it (`BROKER_NAME`), also after the watcher has gone.
   */
  @Get()
  @ApiOkResponse({ description: 'A page of brokers.', type: BrokerPage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: ListQuery): Promise<BrokerPage> {
    const list = new ListRequest('brokers', ['text'], query);
    return this.database.readOnce(caller, (read) => listBrokers(read, list));
  }

  /**
   * Shows one broker: whether it is watched, and what there is now.
   * @remarks What is open and active is as of `watchedUntil`; while nobody watches, it may have changed since.
   */
  @Get(':broker')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The broker.', type: BrokerDetails })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async get(@Caller() caller: Principal, @Param() { broker }: BrokerPath): Promise<BrokerDetails> {
    return this.of(caller, broker, findDetails);
  }

  /**
   * Lists the clients that were ever connected, by client id, each with its open session.
   * @remarks The client id is what the client chose. The bridge and the watcher are clients too.
   */
  @Get(':broker/clients')
  @ApiOkResponse({ description: 'A page of clients.', type: ClientPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async clients(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: ClientsQuery): Promise<ClientPage> {
    const list = listOf(broker, 'clients', ['text'], query);
    return this.listed(caller, broker, (read) => listClients(read, broker, query, list));
  }

  /**
   * Shows one client: when it was seen, whether it is connected, its last sessions and its active subscriptions.
   * @remarks There is more in the lists of sessions, subscriptions and events, which take `client`.
   */
  @Get(':broker/clients/:client')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The client.', type: ClientDetails })
  @Failures({ notFound: ['BROKER_NOT_FOUND', 'CLIENT_NOT_FOUND'] })
  async client(@Caller() caller: Principal, @Param() { broker, client }: ClientPath): Promise<ClientDetails> {
    const details = await this.database.read(caller, (read) => findClientDetails(read, broker, client));
    if (details) return details;
    await this.assertBroker(caller, broker);
    throw new Problem('CLIENT_NOT_FOUND', 'No client of this broker has ever had this id.');
  }

  /**
   * Lists sessions, each one connection of a client; newest first.
   * @remarks An open one has no end. What was not seen is marked: `startUncertain`, `endUncertain`.
   */
  @Get(':broker/sessions')
  @ApiOkResponse({ description: 'A page of sessions.', type: SessionPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async sessions(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: SessionsQuery): Promise<SessionPage> {
    const list = listOf(broker, 'sessions', ['time', 'bigint'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.listed(caller, broker, (read) => listSessions(read, broker, { ...query, ...range }, list));
  }

  /**
   * Sums up sessions by client, those with most of them first, or by UTC day: how many, for how long, how much coming and going.
   * @remarks A session belongs, whole, to the range or day in which it began. Who connects 5 times within 10 minutes flaps, unless
   * `flappingConnects` and `flappingMinutes` say otherwise.
   */
  @Get(':broker/sessions/stats')
  @ApiOkResponse({ description: 'A page of clients or days.', type: SessionStatsPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async sessionStats(
    @Caller() caller: Principal,
    @Param() { broker }: BrokerPath,
    @Query() query: SessionStatsQuery,
  ): Promise<SessionStatsPage> {
    const { by, client, sort = 'sessions', flapping } = query;
    const list = listOf(broker, 'sessions/stats', STATS_KEYS[by], query);
    const maxDays = maxStatsDays(query);
    const { from, to = new Date(list.nowMs) } = timeRange(query, { nowMs: list.nowMs, bounded: true, maxDays });
    if (by === 'client') return this.of(caller, broker, (read) => listClientStats(read, broker, { ...query, sort, from: from!, to }, list));
    if (query.sort !== undefined) throw invalidParameter('sort', 'must not be given with by=day');
    if (flapping !== undefined) throw invalidParameter('flapping', 'must not be given with by=day');
    const span = bucketSpan('day', from!.getTime(), to.getTime());
    return this.of(caller, broker, (read) => listDayStats(read, broker, { client, span }, list));
  }

  /**
   * Lists subscriptions by client id and topic filter, the active ones unless asked otherwise.
   * @remarks Who receives what is published to a topic is asked with `subscriptions/match`.
   */
  @Get(':broker/subscriptions')
  @ApiOkResponse({ description: 'A page of subscriptions.', type: SubscriptionPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async subscriptions(
    @Caller() caller: Principal,
    @Param() { broker }: BrokerPath,
    @Query() query: SubscriptionsQuery,
  ): Promise<SubscriptionPage> {
    const list = listOf(broker, 'subscriptions', ['text', 'text'], query);
    return this.listed(caller, broker, (read) => listSubscriptions(read, broker, query, list));
  }

  /**
   * Lists the active subscriptions that would receive a message published to a topic now, by client id and topic filter.
   * @remarks The rules are those of MQTT 5 section 4.7: wildcards at the beginning do not match topics that begin with `$`. Of a share
   * group one member receives it. That a client may read the topic is not said: brokers log refused subscriptions too. Who is not connected
   * receives it later, of QoS 1 and 2, if the broker keeps its session.
   */
  @Get(':broker/subscriptions/match')
  @ApiOkResponse({ description: 'A page of subscriptions.', type: MatchPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async matches(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: MatchQuery): Promise<MatchPage> {
    const list = listOf(broker, 'subscriptions/match', ['text', 'text'], query);
    return this.of(caller, broker, (read) => listMatches(read, broker, query, list));
  }

  /**
   * Lists topic filters by how many subscribe to them now, most first.
   * @remarks Only active subscriptions count; a shared one counts under its whole filter.
   */
  @Get(':broker/subscriptions/popularity')
  @ApiOkResponse({ description: 'A page of topic filters.', type: PopularityPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async popularity(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: ListQuery): Promise<PopularityPage> {
    const list = listOf(broker, 'subscriptions/popularity', ['bigint', 'text'], query);
    return this.listed(caller, broker, (read) => listPopularity(read, broker, list));
  }

  /**
   * Lists the broker's log lines as they were understood, newest first.
   * @remarks An event stands for the line in `raw`; what could not be read from it for certain is null.
   */
  @Get(':broker/events')
  @ApiOkResponse({ description: 'A page of events.', type: EventPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async events(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: EventsQuery): Promise<Page<JsonText>> {
    const list = listOf(broker, 'events', ['time', 'bigint'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.listed(caller, broker, (read) => listEvents(read, broker, { ...query, ...range }, list));
  }

  /**
   * Counts events by time: what they were, or why sessions ended; at most 2,000 points.
   * @remarks The range grows to whole minutes, hours or days of UTC. A time without events has zeros; `isIncomplete` tells of which
   * times log lines are missing.
   */
  @Get(':broker/events/counts')
  @ApiOkResponse({ description: 'The points.', type: EventCounts })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async eventCounts(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: EventCountsQuery): Promise<EventCounts> {
    const { bucket, by } = query;
    const nowMs = Date.now();
    const { from, to } = timeRange(query, { nowMs, bounded: true });
    const span = bucketSpan(bucket, from!.getTime(), Math.min(to?.getTime() ?? nowMs, nowMs));
    if (bucketCount(span) > MOST_BUCKETS) throw invalidParameter('bucket', `must be longer: at most ${MOST_BUCKETS} are in the range`);
    return this.of(caller, broker, (read, summary) => countEvents(read, summary, { bucket, by, span }));
  }

  /**
   * Lists the broker's metrics by name, each with its latest value.
   * @remarks Each is a `$SYS` value that is a number. One that stays as it is keeps its time: only changes are published.
   */
  @Get(':broker/metrics')
  @ApiOkResponse({ description: 'A page of metrics.', type: MetricPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async metrics(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: ListQuery): Promise<MetricPage> {
    const list = listOf(broker, 'metrics', ['text'], query);
    return this.listed(caller, broker, (read) => listMetrics(read, broker, list));
  }

  /**
   * Shows one metric over time, in equal steps, at most 2,000.
   * @remarks A broker publishes only what has changed: a value is repeated while the broker is heard, and times in which it was not
   * have no points. A metric that never was has none at all.
   */
  @Get(':broker/metrics/:metric/series')
  @ApiOkResponse({ description: 'The points.', type: MetricSeries })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async series(@Caller() caller: Principal, @Param() { broker, metric }: MetricPath, @Query() query: SeriesQuery): Promise<MetricSeries> {
    const { as, step } = query;
    const nowMs = Date.now();
    const from = timeRange(query, { nowMs, bounded: true, maxDays: MAX_SERIES_DAYS }).from!;
    const to = new Date(Math.min(query.to?.getTime() ?? nowMs, nowMs));
    const spanMs = to.getTime() - from.getTime();
    if (as !== 'value' && !isCounter(metric)) throw invalidParameter('as', 'must be value for a metric that is no counter');
    if (step !== undefined && spanMs > MOST_POINTS * step * 1_000)
      throw invalidParameter('step', `must be longer: at most ${MOST_POINTS} points are in the range`);
    const stepMs = step === undefined ? Math.max(SHORTEST_USUAL_STEP_MS[as], Math.ceil(spanMs / USUAL_POINTS)) : step * 1_000;
    return this.of(caller, broker, (read) => findSeries(read, broker, { metric, from, to, as, stepMs, nowMs }));
  }

  /**
   * Lists the times in which log lines were missed, newest first: what happened then is not in events, sessions or subscriptions.
   * @remarks A gap that still lasts is not in the list: it began at `watchedUntil` of the broker.
   */
  @Get(':broker/gaps')
  @ApiOkResponse({ description: 'A page of gaps.', type: GapPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async gaps(@Caller() caller: Principal, @Param() { broker }: BrokerPath, @Query() query: GapsQuery): Promise<GapPage> {
    const list = listOf(broker, 'gaps', ['time', 'bigint'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.listed(caller, broker, (read) => listGaps(read, broker, range, list));
  }

  /**
   * Shows how complete the broker's history is, and what to change in its configuration.
   * @remarks `advice` has the lines for `mosquitto.conf` without which something stays unknown.
   */
  @Get(':broker/diagnostics')
  @ApiOkResponse({ description: 'The diagnosis.', type: BrokerDiagnostics })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async diagnostics(@Caller() caller: Principal, @Param() { broker }: BrokerPath): Promise<BrokerDiagnostics> {
    return this.of(caller, broker, findDiagnostics);
  }

  /** A list of a broker by one statement. Only an empty one must be told from that of a broker that is not there. */
  private async listed<T>(caller: Principal, broker: string, work: (read: Reader) => Promise<Page<T>>): Promise<Page<T>> {
    const page = await this.database.readOnce(caller, work);
    if (page.items.length === 0) await this.assertBroker(caller, broker);
    return page;
  }

  private async assertBroker(caller: Principal, broker: string): Promise<void> {
    await this.of(caller, broker, () => Promise.resolve());
  }

  /** An answer about a broker, if there is one of this name. */
  private async of<T>(caller: Principal, broker: string, work: (read: Reader, summary: BrokerSummary) => Promise<T>): Promise<T> {
    return this.database.read(caller, async (read) => work(read, (await findBroker(read, broker)) ?? notFound()));
  }
}

function listOf(broker: string, name: string, kinds: readonly CursorKey[], query: ListQuery): ListRequest {
  return new ListRequest(`brokers/${broker}/${name}`, kinds, query);
}

function maxStatsDays({ by, client, flapping }: SessionStatsQuery): number {
  if (by === 'day' || client !== undefined) return MAX_STATS_DAYS;
  return flapping === undefined ? MAX_STATS_DAYS_OF_ALL : MAX_FLAPPING_DAYS_OF_ALL;
}

function notFound(): never {
  throw new Problem('BROKER_NOT_FOUND', 'No watched broker has this name.');
}
