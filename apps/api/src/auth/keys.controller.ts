import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { createApiKey, listApiKeys, revokeApiKey, scopesBeyondTenant, type StoredApiKey } from '@tallystick/access';
import type { Response } from 'express';
import { Database, NO_TENANT } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import { ListRequest } from '../http/list.js';
import { invalidParameter, Problem } from '../http/problem.js';
import { requestIdOf } from '../http/request-id.js';
import { Access, Caller } from './access.js';
import { IssuedKey, KeyPage, KeyPath, NewKey } from './keys.dto.js';
import type { Principal } from './principal.js';
import { spendSetupToken } from './spend-setup-token.js';

/** Who may ask this API for what. */
@ApiTags('keys')
@Controller('api/v1/keys')
export class KeysController {
  constructor(private readonly database: Database) {}

  /**
   * Makes a key.
   * @remarks The setup token that `tallystick up` prints works here once, as the bearer: it makes the first key.
   */
  @Post()
  @Access('keys:admin', { setupToken: true })
  @ApiCreatedResponse({ description: 'The key. Its text is shown now and never again.', type: IssuedKey })
  @Failures({ body: true })
  async create(@Caller() caller: Principal, @Body() body: NewKey, @Res({ passthrough: true }) response: Response): Promise<IssuedKey> {
    const { label, tenantId = null, scopes, expiresAt = null } = body;
    const beyond = scopesBeyondTenant({ tenantId, scopes });
    if (beyond.length > 0) throw invalidParameter('scopes', `must not hold ${beyond.join(', ')} for a key of one tenant`);
    if (expiresAt !== null && expiresAt.getTime() <= Date.now()) throw invalidParameter('expiresAt', 'must be in the future');
    const actor = { name: caller.name, requestId: requestIdOf(response) };
    return this.database.write(NO_TENANT, async (run) => {
      if (caller.setupToken) await spendSetupToken(run, caller.setupToken);
      return createApiKey(run, { label, tenantId, scopes, expiresAt }, actor);
    });
  }

  /**
   * Lists keys, newest first; those that were revoked or have expired too.
   * @remarks No key has its secret here: only the hash of it is stored.
   */
  @Get()
  @Access('keys:admin')
  @ApiOkResponse({ description: 'A page of keys.', type: KeyPage })
  @Failures()
  async list(@Query() query: ListQuery): Promise<KeyPage> {
    const list = new ListRequest('keys', ['time', 'text'], query);
    const [createdAtMs, keyId] = list.after ?? [];
    const after = keyId === undefined ? undefined : { createdAt: new Date(Number(createdAtMs)), keyId };
    const keys = await this.database.read(NO_TENANT, (read) => listApiKeys(read, { after, limit: list.limit + 1 }));
    return list.page<StoredApiKey>(keys, (key) => [String(key.createdAt.getTime()), key.keyId]);
  }

  /**
   * Revokes a key, within five seconds everywhere, and ends the sessions that it opened.
   * @remarks The revoked key stays in the list. Revoking it again changes nothing.
   */
  @Delete(':keyId')
  @HttpCode(204)
  @Access('keys:admin')
  @ApiNoContentResponse({ description: 'The key does not work any more.' })
  @Failures({ notFound: 'KEY_NOT_FOUND', body: true })
  async revoke(@Caller() caller: Principal, @Param() { keyId }: KeyPath, @Res({ passthrough: true }) response: Response): Promise<void> {
    const actor = { name: caller.name, requestId: requestIdOf(response) };
    const found = await this.database.write(NO_TENANT, (run) => revokeApiKey(run, keyId, actor));
    if (!found) throw new Problem('KEY_NOT_FOUND', 'No key has this id.');
  }
}
