import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { DatabaseSettings } from '@tallystick/config';
import { databaseCheck, ObservabilityModule } from '@tallystick/observability';
import { AlertSettings } from './alerts/alert.settings.js';
import { AlertNotifier } from './alerts/alert-notifier.js';
import { AlertWatch } from './alerts/alert-watch.js';
import { AlertsController } from './alerts/alerts.controller.js';
import type { ApiConfig } from './api.config.js';
import { AccessGuard } from './auth/access.guard.js';
import { Authenticator } from './auth/authenticator.js';
import { KeysController } from './auth/keys.controller.js';
import { RATE_LIMIT, RateLimits } from './auth/rate-limits.js';
import { SessionController } from './auth/session.controller.js';
import { BatchesController } from './batches/batches.controller.js';
import { BrokersController } from './brokers/brokers.controller.js';
import { ALLOW_OWNER, Database } from './database/database.js';
import { DevicesController } from './devices/devices.controller.js';
import { ExportController } from './export/export.controller.js';
import { Exports } from './export/exports.js';
import { AnswerInterceptor } from './http/answer.interceptor.js';
import { HttpMetrics } from './http/http-metrics.js';
import { inputPipe } from './http/input.pipe.js';
import { STALL_LIMIT } from './http/paced-body.js';
import { ProblemFilter } from './http/problem.filter.js';
import { RequestsUnderWay } from './http/requests-under-way.js';
import { RootController } from './http/root.controller.js';
import { UndeclaredInputGuard } from './http/undeclared-input.guard.js';
import { MessagesController } from './messages/messages.controller.js';
import { RejectionsController } from './rejections/rejections.controller.js';
import { StreamController } from './stream/stream.controller.js';
import { Streams } from './stream/streams.js';

const DATABASE_CHECK = Symbol('DATABASE_CHECK');

@Module({})
export class ApiModule {
  static forRoot(config: ApiConfig): DynamicModule {
    return {
      module: ApiModule,
      imports: [ObservabilityModule.forRoot({ checks: [DATABASE_CHECK] })],
      controllers: [
        RootController,
        SessionController,
        KeysController,
        BatchesController,
        MessagesController,
        DevicesController,
        RejectionsController,
        BrokersController,
        ExportController,
        StreamController,
        AlertsController,
      ],
      providers: [
        Database,
        { provide: DatabaseSettings, useValue: config.database },
        { provide: DATABASE_CHECK, useFactory: ({ connection }: Database) => databaseCheck(connection), inject: [Database] },
        { provide: APP_FILTER, useClass: ProblemFilter },
        { provide: ALLOW_OWNER, useValue: config.allowOwner },
        { provide: RATE_LIMIT, useValue: config.rateLimit },
        { provide: STALL_LIMIT, useValue: config.stallLimitS * 1_000 },
        HttpMetrics,
        RequestsUnderWay,
        Authenticator,
        RateLimits,
        Exports,
        Streams,
        { provide: AlertSettings, useValue: config.alerts },
        AlertWatch,
        AlertNotifier,
        // Who may not ask learns nothing of what can be asked: this guard comes first.
        { provide: APP_GUARD, useClass: AccessGuard },
        { provide: APP_GUARD, useClass: UndeclaredInputGuard },
        { provide: APP_PIPE, useFactory: inputPipe },
        { provide: APP_INTERCEPTOR, useClass: AnswerInterceptor },
      ],
    };
  }
}
