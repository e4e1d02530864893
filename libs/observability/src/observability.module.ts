import { type DynamicModule, type InjectionToken, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { HealthController } from './health.controller.js';
import { Lifecycle } from './lifecycle.js';
import { Metrics } from './metrics.js';
import { MetricsController } from './metrics.controller.js';
import { Readiness } from './readiness.js';
import { READINESS_CHECKS } from './tokens.js';

export interface ObservabilityOptions {
  /** Injection tokens under which the app provides a ReadinessCheck each; a token nobody provides fails the start. */
  checks?: readonly InjectionToken[];
}

/** Probes and /metrics of a process. Global like the logger: any provider may declare a metric. */
@Module({})
export class ObservabilityModule {
  static forRoot({ checks = [] }: ObservabilityOptions = {}): DynamicModule {
    return {
      module: ObservabilityModule,
      global: true,
      // Terminus would log an error line for every failed probe; the transition is the app's to log.
      imports: [TerminusModule.forRoot({ logger: false })],
      controllers: [HealthController, MetricsController],
      providers: [Lifecycle, Metrics, Readiness, { provide: READINESS_CHECKS, useValue: checks }],
      exports: [Lifecycle, Metrics],
    };
  }
}
