// Writes the OpenAPI document to the file named on the command line, without a database or an open port.
import { writeFileSync } from 'node:fs';
import { NestFactory } from '@nestjs/core';
import { ApiConfig } from './api.config.js';
import { ApiModule } from './api.module.js';
import { openApi } from './openapi.js';

// preview: the module graph is built, no provider is made, so the configuration is never read.
const app = await NestFactory.create(ApiModule.forRoot(new ApiConfig()), { preview: true, logger: ['error'] });
writeFileSync(process.argv[2] ?? 'openapi.json', `${JSON.stringify(openApi(app), null, 2)}\n`);
