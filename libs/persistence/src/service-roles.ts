/** The database role of each app, made by the migrations. */
export const SERVICE_ROLES = {
  'ingest-bridge': 'tallystick_ingest',
  'broker-watcher': 'tallystick_watcher',
  api: 'tallystick_api',
} as const;
