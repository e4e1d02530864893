import { Body, Controller, Get, Header, Param, Patch, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { recordAct } from '@tallystick/access';
import type { Response } from 'express';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database, type Reader } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListRequest } from '../http/list.js';
import { invalidParameter, Problem } from '../http/problem.js';
import { requestIdOf } from '../http/request-id.js';
import { publicKeyFault } from './device-public-key.js';
import { DeviceChange, DeviceDetails, DevicePage, DevicePath, DeviceQuery, DevicesQuery, DeviceSummary } from './devices.dto.js';
import { type DeviceName, findDevices, findDeviceStatistics, listDevices, setPublicKey } from './devices.queries.js';

@ApiTags('devices')
@Controller('api/v1/devices')
export class DevicesController {
  constructor(private readonly database: Database) {}

  /**
   * Lists devices, those first that appeared last.
   * @remarks `lastSeen` moves while pages are read, so the order is not by it.
   */
  @Get()
  @Access('telemetry:read')
  @ApiOkResponse({ description: 'A page of devices.', type: DevicePage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: DevicesQuery): Promise<DevicePage> {
    const list = new ListRequest('devices', ['time', 'text', 'text'], query);
    return this.database.readOnce(caller, (read) => listDevices(read, query, list));
  }

  /**
   * Shows one device: what it has sent in 24 hours and 7 days, how late, and which numbers of its counter are missing.
   * @remarks Two tenants may have a device of the same name; a key of the platform then says whose by `tenantId`.
   */
  @Get(':deviceId')
  @Access('telemetry:read')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The device.', type: DeviceDetails })
  @Failures({ notFound: 'DEVICE_NOT_FOUND' })
  async get(@Caller() caller: Principal, @Param() { deviceId }: DevicePath, @Query() { tenantId }: DeviceQuery): Promise<DeviceDetails> {
    return this.database.read(caller, async (read) => {
      const device = await theDevice(read, { deviceId, tenantId });
      return { ...device, ...(await findDeviceStatistics(read, device)) };
    });
  }

  /**
   * Sets or removes the public key of a device.
   * @remarks The change is in the audit log, with the key before it. Signatures are not checked with it yet.
   */
  @Patch(':deviceId')
  @Access('devices:write')
  @ApiOkResponse({ description: 'The device as it is now.', type: DeviceSummary })
  @Failures({ notFound: 'DEVICE_NOT_FOUND', body: true })
  async change(
    @Caller() caller: Principal,
    @Param() { deviceId }: DevicePath,
    @Query() { tenantId }: DeviceQuery,
    @Body() { publicKey }: DeviceChange,
    @Res({ passthrough: true }) response: Response,
  ): Promise<DeviceSummary> {
    const fault = publicKey === null ? undefined : publicKeyFault(publicKey);
    if (fault !== undefined) throw invalidParameter('publicKey', fault);
    const actor = { name: caller.name, requestId: requestIdOf(response) };
    return this.database.write(caller, async (run) => {
      const named = await theDevice(run, { deviceId, tenantId });
      const { before, device } = await setPublicKey(run, named, publicKey);
      const object = `${device.tenantId}/${device.deviceId}`;
      await recordAct(run, actor, { action: 'device.set_public_key', object, details: { before, after: publicKey } });
      return device;
    });
  }
}

/** The one device of this name. Throws DEVICE_NOT_FOUND, or says that the name alone does not tell which. */
async function theDevice(read: Reader, name: DeviceName): Promise<DeviceSummary> {
  const [device, another] = await findDevices(read, name);
  if (!device) throw new Problem('DEVICE_NOT_FOUND', 'No device has this id.');
  if (another) throw invalidParameter('tenantId', 'is needed here: several tenants have a device of this id');
  return device;
}
