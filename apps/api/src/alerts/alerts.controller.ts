import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListRequest } from '../http/list.js';
import { AlertPage, AlertsQuery } from './alerts.dto.js';
import { listAlerts } from './alerts.queries.js';

/**
 * What operators are told of. They watch the platform, and need not be able to read everybody's telemetry for it: `broker:read`, which
 * only keys of the platform have.
 */
@ApiTags('alerts')
@Controller('api/v1/alerts')
export class AlertsController {
  constructor(private readonly database: Database) {}

  /**
   * Lists alerts, newest first.
   * @remarks Those that have ended are kept for 90 days.
   */
  @Get()
  @Access('broker:read')
  @ApiOkResponse({ description: 'A page of alerts.', type: AlertPage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: AlertsQuery): Promise<AlertPage> {
    const list = new ListRequest('alerts', ['time', 'uuid'], query);
    return this.database.readOnce(caller, (read) => listAlerts(read, query, list));
  }
}
