import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Response } from 'express';
import { Metrics } from './metrics.js';
import { PublicRoute } from './public-route.js';

@ApiExcludeController()
@PublicRoute()
@Controller()
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  /** Prometheus text format. */
  @Get('metrics')
  async scrape(@Res() response: Response): Promise<void> {
    const text = await this.metrics.registry.metrics();
    response.set('Cache-Control', 'no-store').set('Content-Type', this.metrics.registry.contentType).send(text);
  }
}
