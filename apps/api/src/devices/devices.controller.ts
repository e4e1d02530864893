import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListRequest } from '../http/list.js';
import { DevicePage, DevicesQuery } from './devices.dto.js';
import { listDevices } from './devices.queries.js';

@ApiTags('devices')
@Controller('api/v1/devices')
@Access('telemetry:read')
export class DevicesController {
  constructor(private readonly database: Database) {}

  /** Lists devices, those first that appeared last. */
  @Get()
  @ApiOkResponse({ description: 'A page of devices.', type: DevicePage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: DevicesQuery): Promise<DevicePage> {
    const list = new ListRequest('devices', ['time', 'text', 'text'], query);
    return this.database.read(caller, (read) => listDevices(read, query, list));
  }
}
