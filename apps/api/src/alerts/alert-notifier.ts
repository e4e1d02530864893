import { type BeforeApplicationShutdown, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Metrics } from '@tallystick/observability';
import { Database } from '../database/database.js';
import { databaseUnavailable } from '../database/database-errors.js';
import { alertNotice } from './alert-notice.js';
import { AlertSettings } from './alert.settings.js';
import { ALL_TENANTS, claimAlert, recordDelivery, recordFailure } from './alerts.queries.js';
import { Rounds } from './rounds.js';
import { postNotice, type Webhook } from './webhook.js';
import { signingKeyOf } from './webhook-signature.js';

/**
 * Tells ALERT_WEBHOOK_URL of alerts. Every process does, each notice by the one that has claimed it. In rounds of its own: a receiver
 * that takes its time keeps nobody from looking.
 */
@Injectable()
export class AlertNotifier implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Alerts');
  private readonly rounds: Rounds;
  private readonly firstRetryMs: number;
  private readonly webhook: Webhook | undefined;
  private readonly notices;
  /** What fails is logged once, until it succeeds. */
  private readonly failing = new Set<'receiver' | 'database'>();

  constructor(
    private readonly database: Database,
    private readonly settings: AlertSettings,
    metrics: Metrics,
  ) {
    const { intervalS, webhookUrl, webhookSecret } = settings;
    this.firstRetryMs = intervalS * 1_000;
    this.rounds = new Rounds(intervalS * 1_000, () => this.tellAll());
    this.webhook = webhookUrl === undefined ? undefined : { url: webhookUrl, signingKey: signingKeyOf(webhookSecret ?? '') };
    this.notices = metrics.counter({
      name: 'alert_notices_total',
      help: 'Tries of this process to tell ALERT_WEBHOOK_URL of an alert: delivered; failed, to be tried again.',
      labels: { result: ['delivered', 'failed'] },
    });
  }

  onApplicationBootstrap(): void {
    if (this.webhook) this.rounds.start();
  }

  /** A POST under way is cut off. Its claim runs out, and then any process delivers it. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.rounds.end();
  }

  /** Delivers what is due, up to the first failure: a receiver that is away is asked once in a round. */
  private async tellAll(): Promise<void> {
    try {
      while (!this.rounds.stop.aborted && (await this.tellNext(this.webhook!)));
      this.failing.delete('database');
    } catch (error) {
      if (databaseUnavailable(error) || this.failing.has('database')) return;
      this.failing.add('database');
      this.logger.warn('notices of alerts cannot be read or recorded', { error });
    }
  }

  /** False when nothing is due, or the receiver did not take it. */
  private async tellNext(webhook: Webhook): Promise<boolean> {
    const alert = await this.database.write(ALL_TENANTS, claimAlert);
    if (!alert) return false;
    const { kind, alertId, state } = alert;
    const delivery = await postNotice(webhook, alertNotice(alert, this.settings.publicUrl), this.rounds.stop);
    if (delivery.kind === 'failed' && this.rounds.stop.aborted) return false;
    this.notices.inc({ result: delivery.kind });
    if (delivery.kind === 'delivered') {
      await this.database.write(ALL_TENANTS, (run) => recordDelivery(run, alert));
      if (this.failing.delete('receiver')) this.logger.log('ALERT_WEBHOOK_URL takes alerts again');
      return true;
    }
    if (!this.failing.has('receiver')) {
      this.failing.add('receiver');
      this.logger.error('ALERT_WEBHOOK_URL does not take an alert; it is tried again', undefined, {
        ...{ kind, alertId, state },
        problem: delivery.problem,
      });
    }
    await this.database.write(ALL_TENANTS, (run) => recordFailure(run, alert, this.firstRetryMs));
    return false;
  }
}
