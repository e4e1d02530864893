import { runApp } from '@tallystick/observability';
import { ApiConfig } from './api.config.js';
import { createApi } from './create-api.js';

await runApp({ name: 'api', config: ApiConfig, create: createApi });
