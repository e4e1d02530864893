import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Database, type Reader } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import { type CursorKey } from '../http/cursor.js';
import { ListRequest } from '../http/list.js';
import { invalidParameter, Problem } from '../http/problem.js';
import { timeRange } from '../http/time-range.js';
import { BrokerDiagnostics, BrokerPage, BrokerPath, type BrokerSummary, GapPage, GapsQuery } from './brokers.dto.js';
import { findBroker, findDiagnostics, listBrokers, listGaps } from './brokers.queries.js';
import { EventPage, EventsQuery } from './events.dto.js';
import { listEvents } from './events.queries.js';
import { MetricPage, MetricSeries, SeriesQuery } from './metrics.dto.js';
import { findSeries, listMetrics } from './metrics.queries.js';
import { ClientPage, ClientsQuery, SessionPage, SessionsQuery } from './sessions.dto.js';
import { listClients, listSessions } from './sessions.queries.js';
import { SubscriptionPage, SubscriptionsQuery } from './subscriptions.dto.js';
import { listSubscriptions } from './subscriptions.queries.js';

const MAX_SERIES_DAYS = 31;

/** What brokers have said about themselves, as their watchers recorded it. */
@ApiTags('brokers')
@Controller('api/v1/brokers')
export class BrokersController {
  constructor(private readonly database: Database) {}

  /** Lists the brokers that have a watcher, by name. */
  @Get()
  @ApiOkResponse({ description: 'A page of brokers.', type: BrokerPage })
  @Failures()
  async list(@Query() query: ListQuery): Promise<BrokerPage> {
    const list = new ListRequest('brokers', ['text'], query);
    return this.database.read((read) => listBrokers(read, list));
  }

  /** Lists the clients that were ever connected, by client id, each with its open session. */
  @Get(':broker/clients')
  @ApiOkResponse({ description: 'A page of clients.', type: ClientPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async clients(@Param() { broker }: BrokerPath, @Query() query: ClientsQuery): Promise<ClientPage> {
    const list = listOf(broker, 'clients', ['text'], query);
    return this.of(broker, (read) => listClients(read, broker, query, list));
  }

  /** Lists sessions, each one connection of a client; newest first. */
  @Get(':broker/sessions')
  @ApiOkResponse({ description: 'A page of sessions.', type: SessionPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async sessions(@Param() { broker }: BrokerPath, @Query() query: SessionsQuery): Promise<SessionPage> {
    const list = listOf(broker, 'sessions', ['time', 'bigint'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.of(broker, (read) => listSessions(read, broker, { ...query, ...range }, list));
  }

  /**
   * Lists subscriptions by client id and topic filter, the active ones unless asked otherwise.
   * @remarks `receives=<topic>` tells who receives what is published to a topic. That they may read it is not said: brokers log refused
   * subscriptions too.
   */
  @Get(':broker/subscriptions')
  @ApiOkResponse({ description: 'A page of subscriptions.', type: SubscriptionPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async subscriptions(@Param() { broker }: BrokerPath, @Query() query: SubscriptionsQuery): Promise<SubscriptionPage> {
    if (query.receives !== undefined && !query.active) throw invalidParameter('active', 'must be true with receives');
    const list = listOf(broker, 'subscriptions', ['text', 'text'], query);
    return this.of(broker, (read) => listSubscriptions(read, broker, query, list));
  }

  /** Lists the broker's log lines as they were understood, newest first. */
  @Get(':broker/events')
  @ApiOkResponse({ description: 'A page of events.', type: EventPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async events(@Param() { broker }: BrokerPath, @Query() query: EventsQuery): Promise<EventPage> {
    const list = listOf(broker, 'events', ['time', 'bigint'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.of(broker, (read) => listEvents(read, broker, { ...query, ...range }, list));
  }

  /** Lists the broker's metrics by name, each with its latest value. */
  @Get(':broker/metrics')
  @ApiOkResponse({ description: 'A page of metrics.', type: MetricPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async metrics(@Param() { broker }: BrokerPath, @Query() query: ListQuery): Promise<MetricPage> {
    const list = listOf(broker, 'metrics', ['text'], query);
    return this.of(broker, (read) => listMetrics(read, broker, list));
  }

  /**
   * Shows one metric over time, in equal steps, at most 2,000.
   * @remarks A broker publishes only what has changed: a value is repeated while the broker is heard, and times in which it was not
   * have no points. A metric that never was has none at all.
   */
  @Get(':broker/metrics/series')
  @ApiOkResponse({ description: 'The points.', type: MetricSeries })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async series(@Param() { broker }: BrokerPath, @Query() query: SeriesQuery): Promise<MetricSeries> {
    const nowMs = Date.now();
    const { from } = timeRange(query, { nowMs, bounded: true, maxDays: MAX_SERIES_DAYS });
    const to = new Date(Math.min(query.to?.getTime() ?? nowMs, nowMs));
    return this.of(broker, (read) => findSeries(read, broker, { ...query, from: from!, to }));
  }

  /** Lists the times in which log lines were missed, newest first: what happened then is not in events, sessions or subscriptions. */
  @Get(':broker/gaps')
  @ApiOkResponse({ description: 'A page of gaps.', type: GapPage })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async gaps(@Param() { broker }: BrokerPath, @Query() query: GapsQuery): Promise<GapPage> {
    const list = listOf(broker, 'gaps', ['time', 'bigint'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.of(broker, (read) => listGaps(read, broker, range, list));
  }

  /** Shows how complete the broker's history is, and what to change in its configuration. */
  @Get(':broker/diagnostics')
  @ApiOkResponse({ description: 'The diagnosis.', type: BrokerDiagnostics })
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async diagnostics(@Param() { broker }: BrokerPath): Promise<BrokerDiagnostics> {
    return this.of(broker, findDiagnostics);
  }

  /** An answer about a broker, if there is one of this name. */
  private async of<T>(broker: string, work: (read: Reader, summary: BrokerSummary) => Promise<T>): Promise<T> {
    return this.database.read(async (read) => work(read, (await findBroker(read, broker)) ?? notFound()));
  }
}

function listOf(broker: string, name: string, kinds: readonly CursorKey[], query: ListQuery): ListRequest {
  return new ListRequest(`brokers/${broker}/${name}`, kinds, query);
}

function notFound(): never {
  throw new Problem('BROKER_NOT_FOUND', 'No watched broker has this name.');
}
