import { Controller, Get, Header, HttpException, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { HealthCheckService, HealthIndicatorService } from '@nestjs/terminus';
import type { Response } from 'express';
import { Lifecycle } from './lifecycle.js';
import { PublicRoute } from './public-route.js';
import { type NamedResult, Readiness } from './readiness.js';

/** Probes: one word each. `/health` says which check fails and why. */
@ApiExcludeController()
@PublicRoute()
@Controller()
export class HealthController {
  constructor(
    private readonly lifecycle: Lifecycle,
    private readonly readiness: Readiness,
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
  ) {}

  /** The event loop turns. Says nothing of database or broker: a restart would not bring them back. */
  @Get('livez')
  @Header('Cache-Control', 'no-store')
  @Header('Content-Type', 'text/plain; charset=utf-8')
  livez(): string {
    return 'ok';
  }

  @Get('startupz')
  @Header('Cache-Control', 'no-store')
  startupz(@Res() response: Response): void {
    if (this.lifecycle.phase === 'starting') word(response, 503, 'starting');
    else word(response, 200, 'ok');
  }

  @Get('readyz')
  @Header('Cache-Control', 'no-store')
  async readyz(@Res() response: Response): Promise<void> {
    // Draining is answered without asking the checks: this must turn at once.
    if (this.lifecycle.phase === 'draining') return word(response, 503, 'draining');
    const results = await this.readiness.results();
    if (results.every(({ result }) => result.ready)) word(response, 200, 'ok');
    else word(response, 503, 'not ready');
  }

  @Get('health')
  @Header('Cache-Control', 'no-store')
  async details(@Res({ passthrough: true }) response: Response): Promise<unknown> {
    const results = await this.readiness.results();
    try {
      return await this.health.check(results.map((named) => () => this.indicator(named)));
    } catch (error) {
      // Terminus throws its report; answered here so that no app's exception filter reshapes it.
      if (!(error instanceof HttpException)) throw error;
      response.status(error.getStatus());
      return error.getResponse();
    }
  }

  private indicator({ name, result }: NamedResult) {
    const indicator = this.indicators.check(name);
    return result.ready ? indicator.up(withoutReserved(result.detail)) : indicator.down({ reason: result.reason });
  }
}

/** `status` is Terminus' own key and throws when given. */
function withoutReserved(detail: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(detail).map(([key, value]) => [key === 'status' ? 'state' : key, value]));
}

function word(response: Response, status: number, text: string): void {
  response.status(status).type('text/plain').send(text);
}
