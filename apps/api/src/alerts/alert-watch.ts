import { type BeforeApplicationShutdown, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Metrics } from '@tallystick/observability';
import { Database } from '../database/database.js';
import { databaseUnavailable } from '../database/database-errors.js';
import { ALERT_CONDITIONS, ALERT_KINDS, type AlertKind } from './alert-conditions.js';
import { AlertSettings } from './alert.settings.js';
import { ALL_TENANTS, beginLook, countOpenAlerts, keepAlert, resolveAlerts, trimAlerts } from './alerts.queries.js';
import { Rounds } from './rounds.js';

/** An alert ends when its condition was not found for so many looks. */
const UNSEEN_LOOKS = 4;

interface Look {
  opened: { alertId: string; summary: string }[];
  resolved: string[];
  open: number;
}

/**
 * Looks for what operators must know of, and keeps `alerts` by it. Every process of the API does so, whether or not it has somebody to
 * tell; that they agree is up to the database, so any of them may be missing.
 */
@Injectable()
export class AlertWatch implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Alerts');
  private readonly rounds: Rounds;
  private readonly endsAfterMs: number;
  private readonly open;
  private readonly failedLooks;
  /** A kind that cannot be looked for is logged once, until it can. */
  private readonly failing = new Set<AlertKind>();

  constructor(
    private readonly database: Database,
    private readonly settings: AlertSettings,
    metrics: Metrics,
  ) {
    this.rounds = new Rounds(settings.intervalS * 1_000, () => this.lookAtAll());
    this.endsAfterMs = UNSEEN_LOOKS * settings.intervalS * 1_000;
    this.open = metrics.gauge({
      name: 'alerts_open',
      help: 'Alerts that have not ended: of all processes, as this one last saw them.',
      labels: { kind: ALERT_KINDS },
    });
    this.failedLooks = metrics.counter({
      name: 'alert_looks_failed_total',
      help: 'Looks for what to alert that failed: of this kind nothing new is known while they do.',
      labels: { kind: ALERT_KINDS },
    });
  }

  onApplicationBootstrap(): void {
    this.rounds.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.rounds.end();
  }

  /** One kind may fail without the others. */
  private async lookAtAll(): Promise<void> {
    for (const kind of ALERT_KINDS) {
      if (this.rounds.stop.aborted) return;
      try {
        const look = await this.look(kind);
        if (look) this.report(kind, look);
        if (this.failing.delete(kind)) this.logger.log('looking for alerts works again', { kind });
      } catch (error) {
        this.failedLooks.inc({ kind });
        // A database that is away is reported by whoever connects to it.
        if (databaseUnavailable(error) || this.failing.has(kind)) continue;
        this.failing.add(kind);
        this.logger.warn('looking for alerts fails', { kind, error });
      }
    }
  }

  /** One transaction: what is found keeps its alert open, then what has long not been found is ended. Undefined: somebody else is at it. */
  private look(kind: AlertKind): Promise<Look | undefined> {
    const { severity, find } = ALERT_CONDITIONS[kind];
    return this.database.write(ALL_TENANTS, async (run) => {
      if (!(await beginLook(run, kind))) return undefined;
      const opened: Look['opened'] = [];
      for (const finding of await find(run, this.settings)) {
        const alertId = await keepAlert(run, kind, severity, finding);
        if (alertId !== undefined) opened.push({ alertId, summary: finding.summary });
      }
      const resolved = await resolveAlerts(run, kind, this.endsAfterMs);
      await trimAlerts(run, kind);
      return { opened, resolved, open: await countOpenAlerts(run, kind) };
    });
  }

  private report(kind: AlertKind, { opened, resolved, open }: Look): void {
    this.open.set({ kind }, open);
    for (const { alertId, summary } of opened) this.logger.warn('alert opened', { kind, alertId, summary });
    for (const alertId of resolved) this.logger.log('alert resolved', { kind, alertId });
  }
}
