import { runApp } from '@tallystick/observability';
import { ApiConfig } from './api.config.js';
import { createApi } from './create-api.js';

await runApp({
  name: 'api',
  // Of many requests at once all that is under way outlives V8's small collections. V8 would conclude that such objects last, make them in
  // the old generation, and keep there what they refer to, dead or not, until the next full collection: a tenth of the API's time.
  v8Options: ['--no-allocation-site-pretenuring'],
  config: ApiConfig,
  create: createApi,
});
